// SPDX-License-Identifier: GPL-2.0-only
/* Reading files again, each kind by itself: a mistake in one does not keep out the other. */
#include <stdarg.h>
#include <stdio.h>

#include "log.h"
#include "memory_server.h"
#include "reread.h"
#include "tls.h"

static void tell(enum mfd_reread how, enum mfd_log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void tell(enum mfd_reread how, enum mfd_log_level level, const char *fmt, ...)
{
	char text[600];
	va_list ap;

	if (how != MFD_REREAD_TELL)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	mfd_log_line(level, "SIGHUP: %s", text);
}

static void reread_tls(struct mfd_server *sv, enum mfd_reread how)
{
	struct mfd_error err = { 0 };

	if (!sv->security)
		return;
	if (!sv->tls)
		tell(how, MFD_LOG_ERROR,
		     "TLS could not be loaded when this program started: an "
		     "upgrade in place (SIGUSR2) tries again");
	else if (mfd_tls_reload(sv->tls, &err))
		tell(how, MFD_LOG_ERROR, "certificates and keys stay as they were: %s",
		     mfd_error_text(&err));
	else
		tell(how, MFD_LOG_INFO,
		     "certificates and keys were read again, for "
		     "connections from now on");
}

static void reread_rights(struct mfd_server *sv, enum mfd_reread how)
{
	struct mfd_error err = { 0 };
	int ret = mfd_rights_now_read(&sv->rights, &err);
	struct mfd_rights *now = mfd_rights_now(&sv->rights);

	if (ret)
		tell(how, MFD_LOG_ERROR, "what peers may do stays as it was: %s",
		     mfd_error_text(&err));
	else if (now)
		tell(how, MFD_LOG_INFO, "%s was read again, for sessions from now on",
		     mfd_rights_path(now));
	else if (!sv->security)
		tell(how, MFD_LOG_INFO,
		     "there is neither TLS nor a file of rights: nothing to "
		     "read again");
	mfd_memory_server_rights(sv, now);
	mfd_rights_put(now);
}

void mfd_reread(struct mfd_server *sv, enum mfd_reread how)
{
	reread_tls(sv, how);
	reread_rights(sv, how);
}
