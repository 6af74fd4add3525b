// SPDX-License-Identifier: GPL-2.0-only
/* The default folder of certificates is used only if it is there. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "tls_dir.h"

const char *mfd_tls_dir(const char *option)
{
	struct stat st;

	if (option)
		return strcmp(option, "off") ? option : NULL;
	/* What is there and cannot be used is an error later, not a reason to send in the clear. */
	return lstat(MFD_TLS_DIR, &st) && errno == ENOENT ? NULL : MFD_TLS_DIR;
}
