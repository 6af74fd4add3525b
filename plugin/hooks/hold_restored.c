// SPDX-License-Identifier: GPL-2.0-only
/* Holding restored tasks before CRIU lets go of them; see hold_restored.h. */
#include <stdlib.h>
#include <string.h>

#include "held.h"
#include "hold_restored.h"
#include "host.h"

static struct mfd_held held;
static int begun; /* 1: `held` is open; -1: it failed */

static int begin(void)
{
	int ret;

	if (begun)
		return begun;
	ret = mfd_held_open(&held, mfd_host_image_dir());
	begun = ret ? -1 : 1;
	if (ret)
		mfd_host_warn("the restored tasks are not held by a control group: %s",
			      strerror(-ret));
	return begun;
}

void mfd_hold_restored(int pid)
{
	const char *name = getenv(MFD_HELD_ENV);
	int ret;

	if (!name || begin() < 0)
		return;
	ret = mfd_held_add(&held, name, pid);
	if (ret)
		mfd_host_warn("process %d is not held by a control group: %s", pid, strerror(-ret));
	else
		mfd_host_info("process %d is held by control group %s", pid, held.group);
}

void mfd_hold_restored_end(void)
{
	if (begun > 0)
		mfd_held_close(&held);
	begun = 0;
}
