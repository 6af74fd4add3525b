// SPDX-License-Identifier: GPL-2.0-only
/* The network lock of a dump that failed too late for CRIU. */
#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

#include "host.h"
#include "netlock.h"

void mfd_netlock_undo(void)
{
	void *symbol = dlsym(RTLD_DEFAULT, "network_unlock");
	void (*unlock)(void);

	/* The inventory is the last image: before that CRIU unlocks by itself. */
	if (faccessat(mfd_host_image_dir(), "inventory.img", F_OK, 0))
		return;
	if (!symbol) {
		mfd_host_error(
			"this criu cannot be made to unlock the network of a dump that failed this late");
		return;
	}
	memcpy(&unlock, &symbol, sizeof(unlock));
	unlock();
}
