/* SPDX-License-Identifier: GPL-2.0-only */
/* The first failure and its sentence. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "error.h"

/* Nonzero when this is the first failure and its text has been set. */
static int set_first(struct mfd_error *err, int code, const char *fmt, va_list ap)
{
	if (!err || err->code)
		return 0;
	err->code = code;
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	return 1;
}

static void error_append(struct mfd_error *err, const char *text)
{
	size_t used = strlen(err->text);

	snprintf(err->text + used, sizeof(err->text) - used, ": %s", text);
}

int mfd_error_set(struct mfd_error *err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set_first(err, code, fmt, ap);
	va_end(ap);
	return code;
}

int mfd_error_sys(struct mfd_error *err, int code, const char *fmt, ...)
{
	char buf[128];
	va_list ap;

	va_start(ap, fmt);
	if (set_first(err, code, fmt, ap))
		error_append(err, strerror_r(code < 0 ? -code : code, buf, sizeof(buf)));
	va_end(ap);
	return code;
}

int mfd_error_blame(struct mfd_error *err, enum mfd_error_side side, int code)
{
	if (err && err->code && err->side == MFD_ERROR_UNTOLD)
		err->side = side;
	return code;
}

void mfd_error_clear(struct mfd_error *err)
{
	err->code = 0;
	err->side = MFD_ERROR_UNTOLD;
	err->text[0] = '\0';
}

const char *mfd_error_text(const struct mfd_error *err)
{
	if (err->text[0])
		return err->text;
	return strerror(err->code < 0 ? -err->code : err->code);
}
