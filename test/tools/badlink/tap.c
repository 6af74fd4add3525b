// SPDX-License-Identifier: GPL-2.0-only
/*
 * TLS 1.3 records, deciphered with keys of a file (RFC 8446, 5.2 and 7.3).
 *
 * A record of the handshake does not open with the keys of what follows it: then it is passed over,
 * and nothing needs to be known of handshakes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

#define HANDSHAKE   0x16
#define APPLICATION 0x17
#define RANDOM_AT   11 /* record, message, version */
#define TAG	    16
#define RECORD_MAX  ((16U << 10) + 256)
#define SECRET_MAX  64
#define LINE	    512

bool tap_is_tls(uint8_t first)
{
	return first == HANDSHAKE;
}

size_t tap_record_len(const uint8_t *head)
{
	return TAP_HEAD + (size_t)(head[3] << 8 | head[4]);
}

/* ---- keys ---- */

static size_t from_hex(uint8_t *to, size_t room, const char *hex)
{
	size_t n = 0;

	for (unsigned byte; n < room && sscanf(hex + 2 * n, "%2x", &byte) == 1; n++)
		to[n] = (uint8_t)byte;
	return n;
}

/* The secret of this name and connection; its length, 0: not there (yet). */
static size_t find_secret(const struct tap *t, const char *name, uint8_t secret[SECRET_MAX])
{
	const char *path = getenv("SSLKEYLOGFILE");
	FILE *f = path ? fopen(path, "re") : NULL;
	char line[LINE], word[64], random[65], hex[2 * SECRET_MAX + 1];
	uint8_t bytes[32];
	size_t len = 0;

	while (f && !len && fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s %64s %128s", word, random, hex) == 3 &&
		    !strcmp(word, name) && from_hex(bytes, sizeof(bytes), random) == 32 &&
		    !memcmp(bytes, t->random, sizeof(bytes)))
			len = from_hex(secret, SECRET_MAX, hex);
	if (f)
		fclose(f);
	return len;
}

/* HKDF-Expand-Label without a context. */
static void expand(const gnutls_datum_t *secret, const char *label, uint8_t *out, size_t len)
{
	uint8_t info[32] = { (uint8_t)(len >> 8), (uint8_t)len };
	int n = snprintf((char *)info + 3, sizeof(info) - 4, "tls13 %s", label);
	const gnutls_datum_t as_datum = { info, (unsigned)n + 4 };

	info[2] = (uint8_t)n;
	gnutls_hkdf_expand(secret->size == 48 ? GNUTLS_MAC_SHA384 : GNUTLS_MAC_SHA256, secret,
			   &as_datum, out, len);
}

/* The suites that we use: AES-256 with SHA-384, AES-128 with SHA-256. */
static bool has_keys(struct tap *t, int dir)
{
	struct tap_pipe *p = &t->pipe[dir];
	uint8_t bytes[SECRET_MAX], key[32];
	gnutls_datum_t secret = { bytes, 0 }, as_datum = { key, 32 };

	if (p->aead)
		return true;
	secret.size = (unsigned)find_secret(
		t, dir ? "SERVER_TRAFFIC_SECRET_0" : "CLIENT_TRAFFIC_SECRET_0", bytes);
	if (!secret.size)
		return false;
	as_datum.size = secret.size == 48 ? 32 : 16;
	expand(&secret, "key", key, as_datum.size);
	expand(&secret, "iv", p->iv, sizeof(p->iv));
	return !gnutls_aead_cipher_init(
		&p->aead, secret.size == 48 ? GNUTLS_CIPHER_AES_256_GCM : GNUTLS_CIPHER_AES_128_GCM,
		&as_datum);
}

/* The length of what the application has sent in it; 0: nothing, or none of its records. */
static size_t decipher(struct tap_pipe *p, const uint8_t *record, uint8_t *plain)
{
	uint8_t nonce[12];
	size_t len = RECORD_MAX;

	memcpy(nonce, p->iv, sizeof(nonce));
	for (int i = 0; i < 8; i++)
		nonce[11 - i] ^= (uint8_t)(p->seq >> 8 * i);
	if (gnutls_aead_cipher_decrypt(p->aead, nonce, sizeof(nonce), record, TAP_HEAD, TAG,
				       record + TAP_HEAD, tap_record_len(record) - TAP_HEAD, plain,
				       &len))
		return 0;
	p->seq++;
	while (len && !plain[len - 1]) /* padding */
		len--;
	return len && plain[len - 1] == APPLICATION ? len - 1 : 0;
}

/* ---- elements ---- */

static void add(char list[TAP_FOUND][ELEMENT_NAME], size_t *n, const char *what)
{
	if (*n < TAP_FOUND)
		snprintf(list[(*n)++], ELEMENT_NAME, "%s", what);
}

/* Bytes of the header of the next element; how many were taken. */
static size_t take_head(struct tap *t, int dir, const uint8_t *data, size_t len,
			struct tap_found *found)
{
	struct tap_pipe *p = &t->pipe[dir];
	size_t want = element_head(t->role, !dir, p->begun);
	size_t n = want - p->have < len ? want - p->have : len;

	memcpy(p->head + p->have, data, n);
	p->have += n;
	if (p->have < want)
		return n;
	element_open(&p->element, p->head, &t->role, !dir, p->begun);
	p->begun = true;
	p->have = 0;
	if (want)
		add(found->begins, &found->n_begins, p->element.name);
	if (p->element.total != SIZE_MAX)
		p->element.total -= want;
	if (!p->element.total)
		add(found->ends, &found->n_ends, p->element.name);
	return n;
}

static size_t take_body(struct tap_pipe *p, size_t len, struct tap_found *found)
{
	size_t n = p->element.total < len ? p->element.total : len;

	if (p->element.total == SIZE_MAX)
		return len;
	p->element.total -= n;
	if (!p->element.total)
		add(found->ends, &found->n_ends, p->element.name);
	return n;
}

static void read_plain(struct tap *t, int dir, const uint8_t *data, size_t len,
		       struct tap_found *found)
{
	struct tap_pipe *p = &t->pipe[dir];

	/* The target's first byte says that it accepts the source. */
	if (len && dir && !p->accepted) {
		p->accepted = true;
		data++;
		len--;
	}
	while (len) {
		size_t n = p->element.total ? take_body(p, len, found) :
					      take_head(t, dir, data, len, found);

		data += n;
		len -= n;
	}
}

void tap_record(struct tap *t, int dir, const uint8_t *record, struct tap_found *found)
{
	static uint8_t plain[RECORD_MAX];
	size_t len = tap_record_len(record);

	found->n_begins = found->n_ends = 0;
	if (!dir && record[0] == HANDSHAKE && len >= RANDOM_AT + sizeof(t->random))
		memcpy(t->random, record + RANDOM_AT, sizeof(t->random));
	if (record[0] == APPLICATION && len > TAP_HEAD + TAG && len < RECORD_MAX &&
	    has_keys(t, dir))
		read_plain(t, dir, plain, decipher(&t->pipe[dir], record, plain), found);
}

void tap_close(struct tap *t)
{
	for (int i = 0; i < 2; i++)
		if (t->pipe[i].aead)
			gnutls_aead_cipher_deinit(t->pipe[i].aead);
}
