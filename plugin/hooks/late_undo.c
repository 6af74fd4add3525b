// SPDX-License-Identifier: GPL-2.0-only
/* A dump that failed too late for CRIU; see late_undo.h. */
#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

#include "host.h"
#include "late_undo.h"

/* As cr_dump_finish() calls them; each does nothing if there is nothing to undo. */
static const struct {
	const char *function, *what;
} undo[] = {
	{ "unsuspend_lsm", "give the tasks their AppArmor profiles back" },
	{ "network_unlock", "unlock the network" },
	{ "delete_link_remaps", "remove the names that it gave to removed files (--link-remap)" },
	{ "clean_cr_time_mounts", "unmount what it mounted" },
};

static int call(const char *name)
{
	void *symbol = dlsym(RTLD_DEFAULT, name);
	void (*function)(void);

	if (!symbol)
		return -1;
	memcpy(&function, &symbol, sizeof(function));
	function();
	return 0;
}

void mfd_late_undo(void)
{
	/* The inventory is the last image: before that CRIU undoes it by itself. */
	if (faccessat(mfd_host_image_dir(), "inventory.img", F_OK, 0))
		return;
	for (size_t i = 0; i < sizeof(undo) / sizeof(*undo); i++)
		if (call(undo[i].function))
			mfd_host_error("this criu cannot be made to %s after a dump that failed "
				       "this late",
				       undo[i].what);
}
