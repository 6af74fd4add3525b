// SPDX-License-Identifier: GPL-2.0-only
/*
 * The handshake of TLS: both ends prove what they are, and the operations are swapped.
 *
 *	source					target
 *						first byte: is it TLS at all?
 *	ClientHello				ServerHello ... Finished
 *	is it the target?  Finished		is it a source of ours?
 *						one byte: accepted
 *
 * GnuTLS asks the functions below while it shakes hands; what they find is in s->why, and the peer
 * learns the kind of it by an alert.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "conn_tls.h"
#include "io.h"
#include "tls_verify.h"

#define FIRST_BYTE 0x16 /* of every handshake of TLS */
#define ACCEPTED   0

static const char *peer(const struct mfd_conn_tls *s)
{
	return s->end == MFD_CONN_SOURCE ? "target" : "source";
}

static enum mfd_conn_end other(const struct mfd_conn_tls *s)
{
	return s->end == MFD_CONN_SOURCE ? MFD_CONN_TARGET : MFD_CONN_SOURCE;
}

/* ---- what GnuTLS asks ---- */

static int verify(gnutls_session_t g)
{
	struct mfd_conn_tls *s = gnutls_session_get_ptr(g);

	return mfd_tls_verify_peer(g, other(s), s->tls->cfg.hostname, s->asked.creds->ca, &s->alert,
				   &s->why) ?
		       GNUTLS_E_CERTIFICATE_ERROR :
		       0;
}

/* See conn_tls.h: the peer's own keys, and not sooner than there is a reason. */
static int judge_rekey(gnutls_session_t g, unsigned type, unsigned when, unsigned incoming,
		       const gnutls_datum_t *msg)
{
	struct mfd_conn_tls *s = gnutls_session_get_ptr(g);

	(void)type;
	(void)when;
	if (!incoming)
		return 0;
	if (s->received < MFD_CONN_TLS_PEER_RECORDS || !msg || msg->size != 1 || *msg->data)
		return GNUTLS_E_UNEXPECTED_HANDSHAKE_PACKET;
	s->received = 0;
	return 0;
}

/* ---- before ---- */

static int no_memory(struct mfd_error *err)
{
	return mfd_error_sys(err, -ENOMEM, "TLS");
}

static int set_up(struct mfd_conn_tls *s)
{
	static const gnutls_datum_t alpn = { (unsigned char *)MFD_TLS_ALPN,
					     sizeof(MFD_TLS_ALPN) - 1 };
	gnutls_session_t g = s->gnutls;
	struct mfd_tls_creds *c = s->asked.creds;
	int ret = gnutls_priority_set(g, c->priority);

	if (!ret)
		ret = gnutls_alpn_set_protocols(g, &alpn, 1, GNUTLS_ALPN_MANDATORY);
	if (!ret && c->x509)
		ret = gnutls_credentials_set(g, GNUTLS_CRD_CERTIFICATE, c->x509);
	if (!ret && c->psk_client)
		ret = gnutls_credentials_set(g, GNUTLS_CRD_PSK, c->psk_client);
	if (!ret && c->psk_server)
		ret = gnutls_credentials_set(g, GNUTLS_CRD_PSK, c->psk_server);
	if (s->end == MFD_CONN_TARGET)
		gnutls_certificate_server_set_request(g, GNUTLS_CERT_REQUIRE);
	gnutls_session_set_verify_function(g, verify);
	gnutls_handshake_set_hook_function(g, GNUTLS_HANDSHAKE_KEY_UPDATE, GNUTLS_HOOK_PRE,
					   judge_rekey);
	return ret;
}

/* Nothing of a peer that does not speak TLS is parsed. */
static int look_at_first_byte(const struct mfd_conn *c, uint64_t deadline, struct mfd_error *err)
{
	uint64_t now = mfd_io_now_ms();
	int ms = !deadline ? -1 : deadline > now ? (int)(deadline - now) : 0;
	struct pollfd p = { .fd = c->conn_fd, .events = POLLIN };
	unsigned char first;
	ssize_t n;

	if (poll(&p, 1, ms) == 0)
		return mfd_error_set(err, -ETIMEDOUT, "the source has not begun a TLS handshake");
	n = recv(c->conn_fd, &first, 1, MSG_PEEK | MSG_DONTWAIT);
	if (n <= 0)
		return mfd_error_set(err, n ? -errno : -ECONNRESET,
				     "closed before the TLS handshake");
	if (first != FIRST_BYTE)
		return mfd_error_set(err, -EPROTO,
				     "the source does not speak TLS: it needs tls-dir or tls-psk");
	return 0;
}

/* ---- after ---- */

static int refuse(struct mfd_conn_tls *s, gnutls_alert_description_t alert, int code,
		  const char *text)
{
	s->alert = alert;
	return mfd_error_set(&s->why, code, "%s", text);
}

/* What GnuTLS lets pass where one end does not insist. */
static int look_at_result(struct mfd_conn_tls *s)
{
	gnutls_session_t g = s->gnutls;
	gnutls_datum_t alpn = { 0 };
	int psk = gnutls_auth_get_type(g) == GNUTLS_CRD_PSK;

	if (gnutls_protocol_get_version(g) != GNUTLS_TLS1_3)
		return refuse(s, GNUTLS_A_PROTOCOL_VERSION, -EPROTO, "the peer is below TLS 1.3");
	if (gnutls_alpn_get_selected_protocol(g, &alpn))
		return refuse(s, GNUTLS_A_NO_APPLICATION_PROTOCOL, -EPROTO,
			      "the peer speaks TLS, but is no criu-multifd of this version (ALPN)");
	if (psk ? !s->asked.creds->psk_client && !s->asked.creds->psk_server :
		  !s->asked.creds->x509)
		return refuse(s, GNUTLS_A_HANDSHAKE_FAILURE, -EACCES,
			      "the peer has not proved what it is");
	if (!psk)
		return mfd_tls_verify_identity(g, s->identity, sizeof(s->identity), s->names,
					       sizeof(s->names)) ?
			       refuse(s, GNUTLS_A_BAD_CERTIFICATE, -EACCES,
				      "the peer's certificate has no name") :
			       0;
	snprintf(s->identity, sizeof(s->identity), "psk:%s",
		 s->asked.psk ? s->asked.psk->name :
				"the target"); /* the target shares the source's key */
	snprintf(s->names, sizeof(s->names), "%s", s->identity);
	return 0;
}

static int accepted(struct mfd_conn_tls *s)
{
	unsigned char word = ACCEPTED;
	ssize_t n;

	do
		n = s->end == MFD_CONN_TARGET ? gnutls_record_send(s->gnutls, &word, 1) :
						gnutls_record_recv(s->gnutls, &word, 1);
	while (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED);
	if (n == 1 && word != ACCEPTED)
		return GNUTLS_E_UNEXPECTED_PACKET;
	return n == 1 ? 0 : n ? (int)n : GNUTLS_E_PREMATURE_TERMINATION;
}

/* ---- what went wrong ---- */

static int say_alert(struct mfd_conn_tls *s, struct mfd_error *err)
{
	return mfd_error_set(err, -EACCES, "%s",
			     mfd_tls_verify_alert(gnutls_alert_get(s->gnutls), s->end));
}

static int say_end(struct mfd_conn_tls *s, struct mfd_error *err)
{
	if (s->end == MFD_CONN_TARGET)
		return mfd_error_set(err, -ECONNRESET,
				     "the source has closed the connection in its TLS handshake");
	return mfd_error_set(err, -ECONNREFUSED,
			     "the target has closed the connection in the TLS handshake: does it "
			     "use TLS (serve --tls-dir or --tls-psk)?");
}

static int say_psk(struct mfd_conn_tls *s, struct mfd_error *err)
{
	if (s->asked.psk)
		return mfd_error_set(err, -EACCES, "the source has another key for identity '%s'",
				     s->asked.psk->name);
	return mfd_error_set(err, -EACCES, "the source has an identity that is not in %s",
			     s->tls->cfg.psk_file);
}

/* The target's errors with a binder that does not fit. */
static int is_wrong_psk(const struct mfd_conn_tls *s, int code)
{
	return s->end == MFD_CONN_TARGET && s->asked.creds->psk_server &&
	       (code == GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER || code == GNUTLS_E_DECRYPTION_FAILED);
}

static const struct {
	int code;
	const char *text;
} words[] = {
	{ GNUTLS_E_UNSUPPORTED_VERSION_PACKET, "does not speak TLS 1.3" },
	{ GNUTLS_E_NO_CIPHER_SUITES,
	  "does not speak TLS 1.3, or has none of the ciphers of this end" },
	{ GNUTLS_E_NO_APPLICATION_PROTOCOL,
	  "speaks TLS, but is no criu-multifd of this version (ALPN)" },
	{ GNUTLS_E_INSUFFICIENT_CREDENTIALS,
	  "has no key of the kind that this end has: one has certificates, the other a pre-shared key" },
	{ GNUTLS_E_CERTIFICATE_REQUIRED, "has sent no certificate" },
	{ GNUTLS_E_UNEXPECTED_PACKET_LENGTH, "does not speak TLS" },
	{ GNUTLS_E_UNEXPECTED_PACKET, "does not speak TLS" },
};

static int say(struct mfd_conn_tls *s, int code, struct mfd_error *err)
{
	int sys = s->in.error ? s->in.error : s->out.error;

	if (s->why.code)
		return mfd_error_set(err, s->why.code, "%s", s->why.text);
	if (sys == -ETIMEDOUT)
		return mfd_error_set(err, sys, "the %s does not finish its TLS handshake", peer(s));
	if (code == GNUTLS_E_FATAL_ALERT_RECEIVED)
		return say_alert(s, err);
	if (s->in.ended || sys == -ECONNRESET || sys == -EPIPE)
		return say_end(s, err);
	if (sys)
		return mfd_error_sys(err, sys, "TLS handshake");
	if (is_wrong_psk(s, code))
		return say_psk(s, err);
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (words[i].code == code)
			return mfd_error_set(err, -EPROTO, "the %s %s", peer(s), words[i].text);
	return mfd_error_set(err, -EPROTO, "TLS handshake: %s", gnutls_strerror(code));
}

static void tell_peer(struct mfd_conn_tls *s, int code)
{
	if (s->why.code)
		gnutls_alert_send(s->gnutls, GNUTLS_AL_FATAL, s->alert);
	else if (is_wrong_psk(s, code))
		gnutls_alert_send(s->gnutls, GNUTLS_AL_FATAL, GNUTLS_A_DECRYPT_ERROR);
	else if (code != GNUTLS_E_FATAL_ALERT_RECEIVED)
		gnutls_alert_send_appropriate(s->gnutls, code);
}

static int shake(struct mfd_conn_tls *s)
{
	int code = set_up(s);

	while (!code) {
		code = gnutls_handshake(s->gnutls);
		if (!code)
			break;
		if (!gnutls_error_is_fatal(code))
			code = 0;
	}
	if (!code && look_at_result(s))
		code = GNUTLS_E_CERTIFICATE_ERROR;
	return code ? code : accepted(s);
}

int mfd_conn_tls_handshake(struct mfd_conn *c, enum mfd_conn_end end,
			   const struct mfd_conn_config *cfg, struct mfd_error *err)
{
	/* Constant for its users; what changes in it has a lock. */
	struct mfd_tls *tls = (struct mfd_tls *)(uintptr_t)cfg->security;
	uint64_t deadline = cfg->connect_ms ? mfd_io_now_ms() + cfg->connect_ms : 0;
	struct mfd_conn_tls *s;
	int ret, code;

	ret = end == MFD_CONN_TARGET ? look_at_first_byte(c, deadline, err) : 0;
	if (ret)
		return ret;
	s = mfd_conn_tls_new(c, end, tls);
	if (!s)
		return no_memory(err);
	s->shaking = 1;
	s->deadline = deadline;
	while (sem_wait(&tls->busy))
		;
	code = shake(s);
	if (code)
		tell_peer(s, code);
	sem_post(&tls->busy);
	if (code) {
		ret = say(s, code, err);
		mfd_conn_tls_free(s);
		return ret;
	}
	s->shaking = 0;
	mfd_conn_swap(c, &mfd_conn_tls_ops, s);
	return 0;
}
