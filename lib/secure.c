// SPDX-License-Identifier: GPL-2.0-only
/* TLS as the options ask for it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "secure.h"
#include "tls.h"
#include "tls_dir.h"

/* The host of "HOST:PORT" or "[V6]:PORT". */
static void host_of(const char *target, char *buf, size_t room)
{
	const char *colon = strrchr(target, ':');
	size_t len = colon ? (size_t)(colon - target) : strlen(target);

	if (len > 1 && target[0] == '[' && target[len - 1] == ']') {
		target++;
		len -= 2;
	}
	snprintf(buf, room, "%.*s", (int)len, target);
}

int mfd_secure_load(const struct mfd_options *o, const struct mfd_conn_security **security,
		    struct mfd_error *err)
{
	struct mfd_tls_config cfg = { .end = MFD_CONN_SOURCE,
				      .dir = o->tls_psk ? NULL : mfd_tls_dir(o->tls_dir),
				      .psk_file = o->tls_psk,
				      .psk_id = o->tls_psk_id };
	struct mfd_tls *tls = NULL; /* for the life of the process */
	char host[256];
	int ret;

	*security = NULL;
	if (!cfg.dir && !cfg.psk_file)
		return 0;
	if (o->zerocopy == MFD_ON)
		return mfd_error_set(err, -EINVAL, "zerocopy = on cannot go with TLS (%s)",
				     cfg.dir ? cfg.dir : cfg.psk_file);
	host_of(o->target, host, sizeof(host));
	cfg.hostname = o->tls_hostname ? o->tls_hostname : host;
	ret = mfd_tls_load(&tls, &cfg, err);
	*security = mfd_tls_security(tls);
	return ret;
}
