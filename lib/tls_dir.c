// SPDX-License-Identifier: GPL-2.0-only
/* The default folder of certificates is used only if it is there. */
#include <string.h>
#include <unistd.h>

#include "tls_dir.h"

const char *mfd_tls_dir(const char *option)
{
	if (option)
		return strcmp(option, "off") ? option : NULL;
	return access(MFD_TLS_DIR, F_OK) ? NULL : MFD_TLS_DIR;
}
