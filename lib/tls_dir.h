/* SPDX-License-Identifier: GPL-2.0-only */
/* Which folder of certificates is used: the one that is named, or the default one. */
#ifndef MFD_TLS_DIR_H
#define MFD_TLS_DIR_H

#define MFD_TLS_DIR "/etc/criu-multifd/tls"

/* `option` as a person has set it: a folder, "off", or NULL.  NULL: no certificates. */
const char *mfd_tls_dir(const char *option);

#endif
