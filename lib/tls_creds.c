// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loading certificates and keys.
 *
 * An end's own certificate is looked at as the peer will do it: a mistake is read on the
 * host where it can be mended, before any connection is made.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "assert.h"
#include "tls_creds.h"
#include "tls_file.h"
#include "tls_verify.h"

/*
 * GnuTLS takes AES-GCM first; its ChaCha20 is several times slower where the processor knows AES.
 *
 * A pre-shared key comes with the hash of its cipher suite, and GnuTLS binds keys of a file to
 * SHA-256, which of the suites of TLS 1.3 with AES-GCM has AES-128 alone.  Plain +PSK is not
 * there: a key that becomes known later would open every memory that was recorded.
 */
#define PRIORITY_X509 "SECURE256:-VERS-ALL:+VERS-TLS1.3"
#define PRIORITY_PSK                                                             \
	"SECURE128:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-256-GCM:+AES-128-GCM" \
	":+ECDHE-PSK:+DHE-PSK"

#define MAX_CHAIN 8

/* ---- the folder of certificates ---- */

struct folder {
	const struct mfd_tls_config *cfg;
	int fd;
	char cert_path[4200], key_path[4200];
	struct mfd_tls_file ca, crl, cert, key;
};

static int read_one(struct folder *f, struct mfd_tls_file *file, const char *name,
		    int may_be_absent, enum mfd_tls_secrecy secrecy, char path[4200],
		    struct mfd_error *err)
{
	int ret;

	snprintf(path, 4200, "%s/%s", f->cfg->dir, name);
	ret = mfd_tls_file_read(file, f->fd, name, path, secrecy, err);
	if (ret == -ENOENT)
		return may_be_absent ? 0 : mfd_error_sys(err, ret, "%s", path);
	return ret;
}

static int read_folder(struct folder *f, struct mfd_tls_creds *c, struct mfd_error *err)
{
	int source = f->cfg->end == MFD_CONN_SOURCE, ret;
	char path[4200];

	ret = read_one(f, &f->ca, MFD_TLS_CA_CERT, 0, MFD_TLS_PUBLIC, c->ca, err);
	if (!ret)
		ret = read_one(f, &f->crl, MFD_TLS_CA_CRL, 1, MFD_TLS_PUBLIC, path, err);
	if (!ret)
		ret = read_one(f, &f->cert, source ? MFD_TLS_CLIENT_CERT : MFD_TLS_SERVER_CERT, 0,
			       MFD_TLS_PUBLIC, f->cert_path, err);
	if (!ret)
		ret = read_one(f, &f->key, source ? MFD_TLS_CLIENT_KEY : MFD_TLS_SERVER_KEY, 0,
			       MFD_TLS_SECRET, f->key_path, err);
	return ret;
}

static gnutls_datum_t datum(const struct mfd_tls_file *f)
{
	return (gnutls_datum_t){ (unsigned char *)f->data, (unsigned)f->len };
}

static int bad_file(int code, const char *dir, const char *name, const char *what,
		    struct mfd_error *err)
{
	return mfd_error_set(err, -EINVAL, "%s/%s: %s: %s", dir, name, what, gnutls_strerror(code));
}

static int take_ca(struct mfd_tls_creds *c, const struct folder *f, struct mfd_error *err)
{
	const gnutls_datum_t ca = datum(&f->ca), crl = datum(&f->crl);
	int n = gnutls_certificate_set_x509_trust_mem(c->x509, &ca, GNUTLS_X509_FMT_PEM);

	if (n <= 0)
		return bad_file(n ? n : GNUTLS_E_NO_CERTIFICATE_FOUND, f->cfg->dir, MFD_TLS_CA_CERT,
				"no certificate of a CA", err);
	if (!crl.data)
		return 0;
	n = gnutls_certificate_set_x509_crl_mem(c->x509, &crl, GNUTLS_X509_FMT_PEM);
	return n < 0 ? bad_file(n, f->cfg->dir, MFD_TLS_CA_CRL, "not a CRL of this CA", err) : 0;
}

/* Would a peer of the same CA accept it? */
static int check_own(struct mfd_tls_creds *c, const struct folder *f, struct mfd_error *err)
{
	const gnutls_datum_t pem = datum(&f->cert);
	gnutls_x509_crt_t chain[MAX_CHAIN];
	gnutls_x509_trust_list_t trusted;
	gnutls_typed_vdata_st purpose = mfd_tls_verify_purpose(f->cfg->end);
	unsigned n = MAX_CHAIN, status = 0;
	int ret = gnutls_x509_crt_list_import(chain, &n, &pem, GNUTLS_X509_FMT_PEM, 0);

	if (ret < 0)
		return mfd_error_set(err, -EINVAL, "%s: not a certificate: %s", f->cert_path,
				     gnutls_strerror(ret));
	gnutls_certificate_get_trust_list(c->x509, &trusted);
	ret = gnutls_x509_trust_list_verify_crt2(trusted, chain, n, &purpose, 1, 0, &status, NULL);
	if (ret < 0)
		mfd_error_set(err, -EINVAL, "%s: %s", f->cert_path, gnutls_strerror(ret));
	else if (status)
		mfd_tls_verify_say(&(struct mfd_tls_verified){ .status = status,
							       .crt = chain[0],
							       .whose = f->cert_path,
							       .ca = c->ca,
							       .end = f->cfg->end },
				   err);
	for (unsigned i = 0; i < n; i++)
		gnutls_x509_crt_deinit(chain[i]);
	return ret < 0 ? -EINVAL : status ? -EACCES : 0;
}

static int take_pair(struct mfd_tls_creds *c, const struct folder *f, struct mfd_error *err)
{
	const gnutls_datum_t cert = datum(&f->cert), key = datum(&f->key);
	int ret = check_own(c, f, err);

	if (ret)
		return ret;
	ret = gnutls_certificate_set_x509_key_mem2(c->x509, &cert, &key, GNUTLS_X509_FMT_PEM, NULL,
						   0);
	if (ret == GNUTLS_E_CERTIFICATE_KEY_MISMATCH)
		return mfd_error_set(err, -EINVAL, "%s is not the key of %s", f->key_path,
				     f->cert_path);
	if (ret < 0)
		return mfd_error_set(err, -EINVAL, "%s: not a key: %s", f->key_path,
				     gnutls_strerror(ret));
	return 0;
}

static int load_folder(struct mfd_tls_creds *c, const struct mfd_tls_config *cfg,
		       struct mfd_error *err)
{
	struct folder f = { .cfg = cfg, .fd = mfd_tls_file_folder(cfg->dir, err) };
	int ret = f.fd < 0 ? f.fd : read_folder(&f, c, err);

	if (!ret && gnutls_certificate_allocate_credentials(&c->x509))
		ret = -ENOMEM;
	if (!ret)
		ret = take_ca(c, &f, err);
	if (!ret)
		ret = take_pair(c, &f, err);
	mfd_tls_file_drop(&f.ca);
	mfd_tls_file_drop(&f.crl);
	mfd_tls_file_drop(&f.cert);
	mfd_tls_file_drop(&f.key);
	if (f.fd >= 0)
		close(f.fd);
	return ret;
}

/* ---- pre-shared keys ---- */

static int give_key(gnutls_datum_t *key, const void *data, size_t len)
{
	key->data = gnutls_malloc(len);
	if (!key->data)
		return -1;
	memcpy(key->data, data, len);
	key->size = (unsigned)len;
	return 0;
}

/*
 * The key of a source.  One that is not known gets a key that no peer has: all that follows is as
 * with a wrong key.
 */
static int psk_of(gnutls_session_t g, const gnutls_datum_t *name, gnutls_datum_t *key)
{
	struct mfd_tls_asked *s = gnutls_session_get_ptr(g);
	uint8_t none[MFD_TLS_PSK_MIN];

	s->psk = mfd_tls_psk_find(&s->creds->psks, name->data, name->size);
	if (getrandom(none, sizeof(none), 0) != sizeof(none))
		return -1;
	if (s->psk)
		return give_key(key, s->psk->key, s->psk->len);
	return give_key(key, none, sizeof(none));
}

/* The target's: which one is asked for at each connection. */
static int give_server(struct mfd_tls_creds *c)
{
	if (gnutls_psk_allocate_server_credentials(&c->psk_server))
		return -ENOMEM;
	gnutls_psk_set_server_credentials_function2(c->psk_server, psk_of);
	return 0;
}

static int give_client(struct mfd_tls_creds *c, const struct mfd_tls_config *cfg,
		       struct mfd_error *err)
{
	const struct mfd_tls_psk *k = c->psks.all;
	gnutls_datum_t key;

	if (cfg->psk_id)
		k = mfd_tls_psk_find(&c->psks, cfg->psk_id, strlen(cfg->psk_id));
	else if (c->psks.n > 1)
		return mfd_error_set(
			err, -EINVAL,
			"%s: %zu identities in it: say by tls-psk-id which is this host's",
			cfg->psk_file, c->psks.n);
	if (!k)
		return mfd_error_set(err, -ENOKEY, "%s: no identity '%s' in it", cfg->psk_file,
				     cfg->psk_id);
	key = (gnutls_datum_t){ (unsigned char *)(uintptr_t)k->key, (unsigned)k->len };
	if (gnutls_psk_allocate_client_credentials(&c->psk_client) ||
	    gnutls_psk_set_client_credentials(c->psk_client, k->name, &key, GNUTLS_PSK_KEY_RAW))
		return -ENOMEM;
	return 0;
}

static int load_psks(struct mfd_tls_creds *c, const struct mfd_tls_config *cfg,
		     struct mfd_error *err)
{
	int ret = mfd_tls_psk_read(&c->psks, cfg->psk_file, err);

	if (ret)
		return ret;
	return cfg->end == MFD_CONN_TARGET ? give_server(c) : give_client(c, cfg, err);
}

/* ---- all of it ---- */

int mfd_tls_creds_load(struct mfd_tls_creds **creds, const struct mfd_tls_config *cfg,
		       struct mfd_error *err)
{
	struct mfd_tls_creds *c = calloc(1, sizeof(*c));
	int ret = c ? 0 : -ENOMEM;

	mfd_assert(cfg->dir || cfg->psk_file);
	if (!ret) {
		atomic_store(&c->refs, 1);
		if (gnutls_priority_init(&c->priority, cfg->psk_file ? PRIORITY_PSK : PRIORITY_X509,
					 NULL))
			ret = mfd_error_set(
				err, -ENOTSUP,
				"this machine's GnuTLS does not permit TLS 1.3 with AES-GCM");
	}
	if (!ret && cfg->dir)
		ret = load_folder(c, cfg, err);
	if (!ret && cfg->psk_file)
		ret = load_psks(c, cfg, err);
	if (ret) {
		mfd_error_sys(err, ret, "TLS");
		mfd_tls_creds_put(c);
		return ret;
	}
	*creds = c;
	return 0;
}

void mfd_tls_creds_put(struct mfd_tls_creds *c)
{
	if (!c || atomic_fetch_sub(&c->refs, 1) > 1)
		return;
	if (c->x509)
		gnutls_certificate_free_credentials(c->x509);
	if (c->psk_client)
		gnutls_psk_free_client_credentials(c->psk_client);
	if (c->psk_server)
		gnutls_psk_free_server_credentials(c->psk_server);
	if (c->priority)
		gnutls_priority_deinit(c->priority);
	mfd_tls_psk_drop(&c->psks);
	free(c);
}
