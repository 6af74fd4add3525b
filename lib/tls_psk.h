/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pre-shared keys: a file of lines IDENTITY:HEX, as psktool writes it.  One identity for each
 * source host; a key has 32 bytes or more.
 */
#ifndef MFD_TLS_PSK_H
#define MFD_TLS_PSK_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

#define MFD_TLS_PSK_NAME 64 /* bytes of an identity: letters, digits and ".-_@" */
#define MFD_TLS_PSK_MIN	 32 /* bytes of a key */
#define MFD_TLS_PSK_MAX	 64

struct mfd_tls_psk {
	char name[MFD_TLS_PSK_NAME + 1]; /* zeros behind its end */
	uint8_t key[MFD_TLS_PSK_MAX];
	size_t len;
};

/* In pages that are not in core files. */
struct mfd_tls_psks {
	struct mfd_tls_psk *all;
	size_t n, mapped;
};

/* 0, or -errno with err filled: the place of the line that is wrong is in it. */
int mfd_tls_psk_read(struct mfd_tls_psks *p, const char *path, struct mfd_error *err);
void mfd_tls_psk_drop(struct mfd_tls_psks *p);
int mfd_tls_psk_name_ok(const char *name, size_t len);
/*
 * The key of an identity, or NULL.  The time it takes does not tell whether there is one, nor
 * which.
 */
const struct mfd_tls_psk *mfd_tls_psk_find(const struct mfd_tls_psks *p, const void *name,
					   size_t len);

#endif
