// SPDX-License-Identifier: GPL-2.0-only
/* Sentences that say why an image was refused. */
#include <stdarg.h>
#include <stdio.h>

#include "why.h"

static _Thread_local char text[512];

int mfd_image_why(const char **why, int code, const char *fmt, ...)
{
	char buf[sizeof(text)]; /* an argument may be the previous sentence */
	va_list ap;

	if (!why)
		return code;
	va_start(ap, fmt);
	vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	snprintf(text, sizeof(text), "%s", buf);
	*why = text;
	return code;
}
