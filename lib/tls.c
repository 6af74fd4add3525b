// SPDX-License-Identifier: GPL-2.0-only
/* The object that configured connections share: it holds the credentials of the moment. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "tls_creds.h"
#include "tls_int.h"

static int copy_text(const char **to, const char *from)
{
	*to = from ? strdup(from) : NULL;
	return from && !*to ? -ENOMEM : 0;
}

static void free_text(const char *text)
{
	free((void *)(uintptr_t)text);
}

int mfd_tls_load(struct mfd_tls **out, const struct mfd_tls_config *cfg, struct mfd_error *err)
{
	struct mfd_tls *tls = calloc(1, sizeof(*tls));
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	int ret;

	if (!tls)
		return mfd_error_sys(err, -ENOMEM, "TLS");
	tls->security.handshake = mfd_conn_tls_handshake;
	pthread_mutex_init(&tls->lock, NULL);
	sem_init(&tls->busy, 0, processors > 0 ? (unsigned)processors : 1);
	tls->cfg.end = cfg->end;
	ret = copy_text(&tls->cfg.dir, cfg->dir);
	if (!ret)
		ret = copy_text(&tls->cfg.psk_file, cfg->psk_file);
	if (!ret)
		ret = copy_text(&tls->cfg.psk_id, cfg->psk_id);
	if (!ret)
		ret = copy_text(&tls->cfg.hostname, cfg->hostname);
	if (!ret)
		ret = mfd_tls_creds_load(&tls->creds, &tls->cfg, err);
	if (ret) {
		mfd_tls_free(tls);
		return mfd_error_sys(err, ret, "TLS");
	}
	/* GnuTLS has keys in its own memory: what this process crashes with is kept by no core. */
	prctl(PR_SET_DUMPABLE, 0);
	*out = tls;
	return 0;
}

int mfd_tls_reload(struct mfd_tls *tls, struct mfd_error *err)
{
	struct mfd_tls_creds *now = NULL, *old;
	int ret = mfd_tls_creds_load(&now, &tls->cfg, err);

	if (ret)
		return ret;
	pthread_mutex_lock(&tls->lock);
	old = tls->creds;
	tls->creds = now;
	pthread_mutex_unlock(&tls->lock);
	mfd_tls_creds_put(old);
	return 0;
}

const struct mfd_conn_security *mfd_tls_security(const struct mfd_tls *tls)
{
	return tls ? &tls->security : NULL;
}

void mfd_tls_free(struct mfd_tls *tls)
{
	if (!tls)
		return;
	mfd_tls_creds_put(tls->creds);
	free_text(tls->cfg.dir);
	free_text(tls->cfg.psk_file);
	free_text(tls->cfg.psk_id);
	free_text(tls->cfg.hostname);
	sem_destroy(&tls->busy);
	pthread_mutex_destroy(&tls->lock);
	free(tls);
}
