/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What crosses a connection with TLS, for badlink: records are forwarded as they are, and looked
 * into with the keys that both ends, being told to (SSLKEYLOGFILE), write to a file.  Without such
 * a file nothing is found in them.
 */
#ifndef BADLINK_TAP_H
#define BADLINK_TAP_H

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "element.h"

#define TAP_HEAD  5  /* of a record */
#define TAP_FOUND 64 /* elements that begin or end in one */

struct tap_pipe {
	gnutls_aead_cipher_hd_t aead; /* NULL: no keys yet */
	uint8_t iv[12];
	uint64_t seq;
	struct element element; /* being read */
	uint8_t head[ELEMENT_HEAD];
	size_t have; /* of head */
	bool begun, accepted;
};

/* Zeros at first. */
struct tap {
	uint8_t random[32]; /* the source's: names the connection in the file */
	uint8_t role;	    /* enum mfd_wire_role; 0: not known yet */
	struct tap_pipe pipe[2];
};

struct tap_found {
	char begins[TAP_FOUND][ELEMENT_NAME], ends[TAP_FOUND][ELEMENT_NAME];
	size_t n_begins, n_ends;
};

/* The first byte of a connection. */
bool tap_is_tls(uint8_t first);
/* Of a record with its header; TAP_HEAD bytes of it are there. */
size_t tap_record_len(const uint8_t *head);
/* One whole record from source to target (dir 0) or back. */
void tap_record(struct tap *t, int dir, const uint8_t *record, struct tap_found *found);
void tap_close(struct tap *t);

#endif
