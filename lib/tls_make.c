// SPDX-License-Identifier: GPL-2.0-only
/* Making certificates and keys. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "io.h"
#include "tls.h"
#include "tls_file.h"
#include "tls_make.h"
#include "tls_psk.h"

/* A certificate and its key, in memory. */
struct pair {
	gnutls_x509_crt_t crt;
	gnutls_x509_privkey_t key;
};

static void drop(struct pair *p)
{
	if (p->crt)
		gnutls_x509_crt_deinit(p->crt);
	if (p->key)
		gnutls_x509_privkey_deinit(p->key);
	*p = (struct pair){ 0 };
}

static int bad(int code, const char *what, struct mfd_error *err)
{
	return mfd_error_set(err, -EINVAL, "%s: %s", what, gnutls_strerror(code));
}

static int start(struct pair *p, struct mfd_error *err)
{
	int ret;

	*p = (struct pair){ 0 };
	ret = gnutls_x509_crt_init(&p->crt);
	if (!ret)
		ret = gnutls_x509_privkey_init(&p->key);
	return ret ? bad(ret, "a certificate", err) : 0;
}

/* ---- files ---- */

int mfd_tls_make_file(int dirfd, const char *name, const void *data, size_t len, unsigned mode)
{
	int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	int ret;

	if (fd < 0)
		return -errno;
	ret = mfd_io_write_all(fd, data, len);
	if (!ret && fsync(fd))
		ret = -errno;
	close(fd);
	if (ret)
		unlinkat(dirfd, name, 0);
	return ret;
}

static int write_pem(int dirfd, const char *name, gnutls_datum_t *pem, unsigned mode,
		     struct mfd_error *err)
{
	int ret = mfd_tls_make_file(dirfd, name, pem->data, pem->size, mode);

	explicit_bzero(pem->data, pem->size);
	gnutls_free(pem->data);
	return ret ? mfd_error_sys(err, ret, "%s", name) : 0;
}

/* The key first: a certificate without its key is of no use. */
static int write_pair(const struct pair *p, int dirfd, const char *cert_name, const char *key_name,
		      struct mfd_error *err)
{
	gnutls_datum_t pem;
	int ret = gnutls_x509_privkey_export2_pkcs8(p->key, GNUTLS_X509_FMT_PEM, NULL,
						    GNUTLS_PKCS_PLAIN, &pem);

	if (ret)
		return bad(ret, key_name, err);
	ret = write_pem(dirfd, key_name, &pem, 0600, err);
	if (ret)
		return ret;
	ret = gnutls_x509_crt_export2(p->crt, GNUTLS_X509_FMT_PEM, &pem);
	ret = ret ? bad(ret, cert_name, err) : write_pem(dirfd, cert_name, &pem, 0644, err);
	if (ret)
		unlinkat(dirfd, key_name, 0);
	return ret;
}

static int read_part(int dirfd, const char *name, enum mfd_tls_secrecy secrecy,
		     struct mfd_tls_file *f, struct mfd_error *err)
{
	int ret = mfd_tls_file_read(f, dirfd, name, name, secrecy, err);

	return ret ? mfd_error_sys(err, ret, "%s (is 'keys init' done?)", name) : 0;
}

static int read_ca(struct pair *ca, int dirfd, struct mfd_error *err)
{
	struct mfd_tls_file cert = { 0 }, key = { 0 };
	int ret = start(ca, err), code;

	if (!ret)
		ret = read_part(dirfd, MFD_TLS_CA_CERT, MFD_TLS_PUBLIC, &cert, err);
	if (!ret)
		ret = read_part(dirfd, MFD_TLS_CA_KEY, MFD_TLS_SECRET, &key, err);
	if (!ret) {
		const gnutls_datum_t c = { (unsigned char *)cert.data, (unsigned)cert.len };
		const gnutls_datum_t k = { (unsigned char *)key.data, (unsigned)key.len };

		code = gnutls_x509_crt_import(ca->crt, &c, GNUTLS_X509_FMT_PEM);
		if (!code)
			code = gnutls_x509_privkey_import(ca->key, &k, GNUTLS_X509_FMT_PEM);
		ret = code ? bad(code, MFD_TLS_CA_CERT ", " MFD_TLS_CA_KEY, err) : 0;
	}
	mfd_tls_file_drop(&cert);
	mfd_tls_file_drop(&key);
	return ret;
}

/* ---- what is in a certificate ---- */

static int add_name(gnutls_x509_crt_t crt, const char *name)
{
	unsigned char ip[16];
	int len = inet_pton(AF_INET, name, ip) == 1  ? 4 :
		  inet_pton(AF_INET6, name, ip) == 1 ? 16 :
						       0;

	return gnutls_x509_crt_set_subject_alt_name(
		crt, len ? GNUTLS_SAN_IPADDRESS : GNUTLS_SAN_DNSNAME, len ? (const void *)ip : name,
		len ? (unsigned)len : (unsigned)strlen(name), GNUTLS_FSAN_APPEND);
}

static int fill_host(gnutls_x509_crt_t crt, const struct mfd_tls_make *m)
{
	int ret = gnutls_x509_crt_set_basic_constraints(crt, 0, -1);

	for (size_t i = 0; !ret && i < m->n_names; i++)
		ret = add_name(crt, m->names[i]);
	if (!ret)
		ret = gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE);
	if (!ret && m->purposes & MFD_TLS_FOR_SERVER)
		ret = gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_SERVER, 0);
	if (!ret && m->purposes & MFD_TLS_FOR_CLIENT)
		ret = gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_CLIENT, 0);
	return ret;
}

static int fill_ca(gnutls_x509_crt_t crt)
{
	int ret = gnutls_x509_crt_set_basic_constraints(crt, 1, 0);

	return ret ? ret :
		     gnutls_x509_crt_set_key_usage(crt,
						   GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN);
}

/* The identifiers of the key and of the one that signs: CAs may have the same name. */
static int set_key_ids(const struct pair *p, const struct pair *by)
{
	unsigned char id[64];
	size_t len = sizeof(id);
	int ret = gnutls_x509_crt_get_key_id(p->crt, 0, id, &len);

	if (!ret)
		ret = gnutls_x509_crt_set_subject_key_id(p->crt, id, len);
	len = sizeof(id);
	if (!ret)
		ret = gnutls_x509_crt_get_subject_key_id(by->crt, id, &len, NULL);
	return ret ? ret : gnutls_x509_crt_set_authority_key_id(p->crt, id, len);
}

static int set_serial(gnutls_x509_crt_t crt)
{
	unsigned char serial[16];

	if (getrandom(serial, sizeof(serial), 0) != sizeof(serial))
		return GNUTLS_E_RANDOM_FAILED;
	serial[0] = (serial[0] & 0x7f) | 0x40; /* positive, and no zeros in front */
	return gnutls_x509_crt_set_serial(crt, serial, sizeof(serial));
}

/* `ca` NULL: signed by itself. */
static int fill(struct pair *p, const struct mfd_tls_make *m, const struct pair *ca)
{
	const struct pair *by = ca ? ca : p;
	int ret = gnutls_x509_privkey_generate(p->key, GNUTLS_PK_ECDSA,
					       GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1), 0);

	if (!ret)
		ret = gnutls_x509_crt_set_version(p->crt, 3);
	if (!ret)
		ret = gnutls_x509_crt_set_dn_by_oid(p->crt, GNUTLS_OID_X520_COMMON_NAME, 0,
						    m->names[0], (unsigned)strlen(m->names[0]));
	if (!ret)
		ret = gnutls_x509_crt_set_activation_time(p->crt, m->from);
	if (!ret)
		ret = gnutls_x509_crt_set_expiration_time(p->crt, m->until);
	if (!ret)
		ret = gnutls_x509_crt_set_key(p->crt, p->key);
	if (!ret)
		ret = set_serial(p->crt);
	if (!ret)
		ret = set_key_ids(p, by);
	if (!ret)
		ret = m->purposes ? fill_host(p->crt, m) : fill_ca(p->crt);
	return ret ? ret : gnutls_x509_crt_sign2(p->crt, by->crt, by->key, GNUTLS_DIG_SHA384, 0);
}

/* ---- all of it ---- */

int mfd_tls_make_ca(int dirfd, const struct mfd_tls_make *m, struct mfd_error *err)
{
	struct pair p;
	int ret = start(&p, err), code;

	if (!ret) {
		code = fill(&p, m, NULL);
		ret = code ? bad(code, "making a CA", err) :
			     write_pair(&p, dirfd, MFD_TLS_CA_CERT, MFD_TLS_CA_KEY, err);
	}
	drop(&p);
	return ret;
}

int mfd_tls_make_pair(int ca_dir, int dirfd, const char *cert_name, const char *key_name,
		      const struct mfd_tls_make *m, struct mfd_error *err)
{
	struct pair ca = { 0 }, p = { 0 };
	int ret = read_ca(&ca, ca_dir, err), code;

	if (!ret)
		ret = start(&p, err);
	if (!ret) {
		code = fill(&p, m, &ca);
		ret = code ? bad(code, "making a certificate", err) :
			     write_pair(&p, dirfd, cert_name, key_name, err);
	}
	drop(&p);
	drop(&ca);
	return ret;
}

size_t mfd_tls_make_psk(char *buf, size_t room, const char *name)
{
	unsigned char key[MFD_TLS_PSK_MIN];
	size_t n = strlen(name);

	if (room < n + 2 * sizeof(key) + 3 || getrandom(key, sizeof(key), 0) != sizeof(key))
		return 0;
	memcpy(buf, name, n);
	buf[n++] = ':';
	for (size_t i = 0; i < sizeof(key); i++, n += 2)
		sprintf(buf + n, "%02x", key[i]);
	buf[n++] = '\n';
	buf[n] = '\0';
	explicit_bzero(key, sizeof(key));
	return n;
}
