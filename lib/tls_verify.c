// SPDX-License-Identifier: GPL-2.0-only
/* Certificates: purposes, names, and a table of what can be wrong. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tls_verify.h"

gnutls_typed_vdata_st mfd_tls_verify_purpose(enum mfd_conn_end end)
{
	const char *oid = end == MFD_CONN_SOURCE ? GNUTLS_KP_TLS_WWW_CLIENT :
						   GNUTLS_KP_TLS_WWW_SERVER;

	return (gnutls_typed_vdata_st){ .type = GNUTLS_DT_KEY_PURPOSE_OID,
					.data = (unsigned char *)(uintptr_t)oid,
					.size = (unsigned)strlen(oid) };
}

/* ---- names ---- */

/* Letters that are the same in a log, a file of rules and session.img. */
static int plain_name(const char *name, size_t len)
{
	if (!len)
		return 0;
	for (size_t i = 0; i < len; i++)
		if (name[i] <= ' ' || name[i] > '~')
			return 0;
	return 1;
}

#define NAME_ROOM (MFD_TLS_IDENTITY - 5) /* behind "x509:" */

struct names {
	char *buf;
	size_t room;
};

static void keep_first(struct names *to, const char *name)
{
	if (!to->buf[0])
		snprintf(to->buf, to->room, "%s", name);
}

/* One more line, or nothing: a name that was cut would be another one. */
static void add_line(struct names *to, const char *kind, const char *name)
{
	size_t used = strlen(to->buf), more = strlen(kind) + strlen(name) + 1;

	if (used + more < to->room)
		sprintf(to->buf + used, "%s%s%s", used ? "\n" : "", kind, name);
}

static void add_name(struct names *to, const char *name)
{
	add_line(to, "x509:", name);
}

/* Each DNS name.  How many there are: also those that are no plain names or too long. */
static unsigned dns_names(gnutls_x509_crt_t crt, void (*each)(struct names *to, const char *name),
			  struct names *to)
{
	char name[NAME_ROOM];
	unsigned n = 0;
	int ret = 0;

	for (unsigned i = 0; ret >= 0 || ret == GNUTLS_E_SHORT_MEMORY_BUFFER; i++) {
		size_t len = sizeof(name) - 1;

		ret = gnutls_x509_crt_get_subject_alt_name(crt, i, name, &len, NULL);
		n += ret < 0 ? ret != GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE :
			       ret == GNUTLS_SAN_DNSNAME;
		if (ret != GNUTLS_SAN_DNSNAME || !plain_name(name, len))
			continue;
		name[len] = '\0';
		each(to, name);
	}
	return n;
}

/*
 * The DNS names of the certificate; only if it has none, its common name (RFC 6125, 6.4.4): a CA
 * that has looked at the DNS names may have let any common name pass.
 */
static void each_name(gnutls_x509_crt_t crt, void (*each)(struct names *to, const char *name),
		      struct names *to)
{
	char name[NAME_ROOM];
	size_t len = sizeof(name);

	if (!dns_names(crt, each, to) &&
	    gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name, &len) >=
		    0 &&
	    plain_name(name, len))
		each(to, name);
}

/* The first of them: 0, or -ENOENT and an empty text. */
static int name_of(gnutls_x509_crt_t crt, char *buf, size_t room)
{
	struct names first = { .buf = buf, .room = room };

	buf[0] = '\0';
	each_name(crt, keep_first, &first);
	return buf[0] ? 0 : -ENOENT;
}

static int spki_of(gnutls_x509_crt_t crt, char *buf, size_t room)
{
	unsigned char id[64];
	size_t len = sizeof(id);

	if (gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA256, id, &len) ||
	    room < 5 + 2 * len + 1)
		return -EINVAL;
	memcpy(buf, "spki:", 6);
	for (size_t i = 0; i < len; i++)
		sprintf(buf + 5 + 2 * i, "%02x", id[i]);
	return 0;
}

static int peer_crt(gnutls_session_t g, gnutls_x509_crt_t *crt)
{
	unsigned n = 0;
	const gnutls_datum_t *der = gnutls_certificate_get_peers(g, &n);

	if (!der || !n || gnutls_x509_crt_init(crt))
		return -ENOENT;
	if (gnutls_x509_crt_import(*crt, der, GNUTLS_X509_FMT_DER)) {
		gnutls_x509_crt_deinit(*crt);
		return -EBADMSG;
	}
	return 0;
}

int mfd_tls_verify_identity(gnutls_session_t g, char *buf, size_t len, char *names, size_t room)
{
	struct names all = { .buf = names, .room = room };
	char name[NAME_ROOM], spki[NAME_ROOM];
	gnutls_x509_crt_t crt;
	int ret = peer_crt(g, &crt);

	if (ret)
		return ret;
	names[0] = '\0';
	each_name(crt, add_name, &all);
	ret = spki_of(crt, spki, sizeof(spki));
	if (!ret)
		add_line(&all, "", spki);
	if (!name_of(crt, name, sizeof(name)))
		ret = snprintf(buf, len, "x509:%s", name) < (int)len ? 0 : -EINVAL;
	else if (!ret)
		snprintf(buf, len, "%s", spki);
	gnutls_x509_crt_deinit(crt);
	return ret;
}

/* ---- what can be wrong ---- */

static void date(char buf[40], time_t t)
{
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(buf, 40, "%Y-%m-%d %H:%M:%S UTC", &tm);
}

static int say_expired(const struct mfd_tls_verified *v, char *buf, size_t len)
{
	char when[40];

	date(when, gnutls_x509_crt_get_expiration_time(v->crt));
	return snprintf(buf, len, "has expired: it was valid until %s", when);
}

static int say_early(const struct mfd_tls_verified *v, char *buf, size_t len)
{
	char when[40], now[40];

	date(when, gnutls_x509_crt_get_activation_time(v->crt));
	date(now, time(NULL));
	return snprintf(buf, len, "is not valid yet: it is from %s on, and the clock says %s here",
			when, now);
}

static int say_unknown(const struct mfd_tls_verified *v, char *buf, size_t len)
{
	return snprintf(buf, len, "is not signed by the CA in %s", v->ca);
}

static int say_purpose(const struct mfd_tls_verified *v, char *buf, size_t len)
{
	return snprintf(buf, len, "is not for a TLS %s (extended key usage)",
			v->end == MFD_CONN_SOURCE ? "client" : "server");
}

static int say_name(const struct mfd_tls_verified *v, char *buf, size_t len)
{
	return snprintf(buf, len,
			"is not for the name '%s': connect by a name that is in it, or "
			"set tls-hostname",
			v->hostname ? v->hostname : "");
}

/* The first that applies is said. */
static const struct {
	unsigned status;
	gnutls_alert_description_t alert;
	int (*say)(const struct mfd_tls_verified *v, char *buf, size_t len);
	const char *text; /* in its place */
} faults[] = {
	{ GNUTLS_CERT_SIGNER_NOT_FOUND, GNUTLS_A_UNKNOWN_CA, say_unknown, NULL },
	{ GNUTLS_CERT_SIGNATURE_FAILURE, GNUTLS_A_UNKNOWN_CA, say_unknown, NULL },
	{ GNUTLS_CERT_REVOKED, GNUTLS_A_CERTIFICATE_REVOKED, NULL,
	  "has been revoked (ca-crl.pem)" },
	{ GNUTLS_CERT_NOT_ACTIVATED, GNUTLS_A_CERTIFICATE_EXPIRED, say_early, NULL },
	{ GNUTLS_CERT_EXPIRED, GNUTLS_A_CERTIFICATE_EXPIRED, say_expired, NULL },
	{ GNUTLS_CERT_PURPOSE_MISMATCH, GNUTLS_A_UNSUPPORTED_CERTIFICATE, say_purpose, NULL },
	{ GNUTLS_CERT_UNEXPECTED_OWNER, GNUTLS_A_BAD_CERTIFICATE, say_name, NULL },
	{ GNUTLS_CERT_INSECURE_ALGORITHM, GNUTLS_A_INSUFFICIENT_SECURITY, NULL,
	  "has a key or a signature that is too weak" },
	{ GNUTLS_CERT_REVOCATION_DATA_SUPERSEDED, GNUTLS_A_CERTIFICATE_UNKNOWN, NULL,
	  "cannot be believed: the list in ca-crl.pem is out of date" },
	{ GNUTLS_CERT_REVOCATION_DATA_ISSUED_IN_FUTURE, GNUTLS_A_CERTIFICATE_UNKNOWN, NULL,
	  "cannot be believed: the list in ca-crl.pem is of the future" },
	{ 0, GNUTLS_A_BAD_CERTIFICATE, NULL, "cannot be verified" },
};

gnutls_alert_description_t mfd_tls_verify_say(const struct mfd_tls_verified *v,
					      struct mfd_error *err)
{
	char name[128], what[300];
	size_t i = 0;

	while (faults[i].status && !(v->status & faults[i].status))
		i++;
	if (faults[i].say)
		faults[i].say(v, what, sizeof(what));
	else
		snprintf(what, sizeof(what), "%s", faults[i].text);
	mfd_error_set(err, -EACCES, "%s (%s) %s", v->whose,
		      name_of(v->crt, name, sizeof(name)) ? "?" : name, what);
	return faults[i].alert;
}

int mfd_tls_verify_peer(gnutls_session_t g, enum mfd_conn_end end, const char *hostname,
			const char *ca, gnutls_alert_description_t *alert, struct mfd_error *err)
{
	gnutls_typed_vdata_st data[2] = { mfd_tls_verify_purpose(end) };
	struct mfd_tls_verified v = { .whose = end == MFD_CONN_SOURCE ? "the source's certificate" :
									"the target's certificate",
				      .hostname = hostname,
				      .ca = ca,
				      .end = end };
	int ret;

	if (hostname)
		data[1] = (gnutls_typed_vdata_st){ .type = GNUTLS_DT_DNS_HOSTNAME,
						   .data = (unsigned char *)(uintptr_t)hostname };
	*alert = GNUTLS_A_BAD_CERTIFICATE;
	ret = gnutls_certificate_verify_peers(g, data, hostname ? 2 : 1, &v.status);
	if (ret == GNUTLS_E_NO_CERTIFICATE_FOUND || peer_crt(g, &v.crt)) {
		*alert = GNUTLS_A_CERTIFICATE_REQUIRED;
		return mfd_error_set(err, -EACCES, "the %s has sent no certificate",
				     end == MFD_CONN_SOURCE ? "source" : "target");
	}
	if (ret < 0)
		mfd_error_set(err, -EACCES, "%s: %s", v.whose, gnutls_strerror(ret));
	else if (v.status)
		*alert = mfd_tls_verify_say(&v, err);
	gnutls_x509_crt_deinit(v.crt);
	return ret < 0 || v.status ? -EACCES : 0;
}

/* ---- what the peer says ---- */

static const struct {
	gnutls_alert_description_t alert;
	const char *text[2]; /* for the source, for the target */
} alerts[] = {
	{ GNUTLS_A_UNKNOWN_CA,
	  { "the target refuses this host's certificate: it is not signed by the target's CA",
	    "the source refuses this server's certificate: it is not signed by the source's CA" } },
	{ GNUTLS_A_CERTIFICATE_REVOKED,
	  { "the target refuses this host's certificate: it has been revoked",
	    "the source refuses this server's certificate: it has been revoked" } },
	{ GNUTLS_A_CERTIFICATE_EXPIRED,
	  { "the target refuses this host's certificate: by its clock it has expired or is not "
	    "valid yet",
	    "the source refuses this server's certificate: by its clock it has expired or is not "
	    "valid yet" } },
	{ GNUTLS_A_UNSUPPORTED_CERTIFICATE,
	  { "the target refuses this host's certificate: it is not for a TLS client",
	    "the source refuses this server's certificate: it is not for a TLS server" } },
	{ GNUTLS_A_CERTIFICATE_REQUIRED,
	  { "the target asks for a certificate and this host has sent none: set tls-dir",
	    "the source asks for a certificate" } },
	{ GNUTLS_A_BAD_CERTIFICATE,
	  { "the target refuses this host's certificate",
	    "the source refuses this server's certificate: its name may not be the one that the "
	    "source connects to" } },
	{ GNUTLS_A_PROTOCOL_VERSION,
	  { "the target does not speak TLS 1.3", "the source does not speak TLS 1.3" } },
	{ GNUTLS_A_NO_APPLICATION_PROTOCOL,
	  { "the target speaks TLS, but is no criu-multifd restore server of this version",
	    "the source speaks TLS, but is no criu-multifd of this version" } },
	{ GNUTLS_A_DECRYPT_ERROR,
	  { "the target does not know this pre-shared key (tls-psk, tls-psk-id)",
	    "the source does not believe this server's key" } },
	{ GNUTLS_A_HANDSHAKE_FAILURE,
	  { "the target has no key of the kind that this host has: one has certificates, the other "
	    "a pre-shared key",
	    "the source has no key of the kind that this server has: one has certificates, the "
	    "other a pre-shared key" } },
};

const char *mfd_tls_verify_alert(gnutls_alert_description_t alert, enum mfd_conn_end end)
{
	for (size_t i = 0; i < sizeof(alerts) / sizeof(*alerts); i++)
		if (alerts[i].alert == alert)
			return alerts[i].text[end];
	return gnutls_alert_get_name(alert);
}
