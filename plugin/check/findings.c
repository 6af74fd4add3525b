// SPDX-License-Identifier: GPL-2.0-only
/* Findings are added, counted and judged. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "check.h"
#include "text.h"

void mfd_check_add(struct mfd_check *c, enum mfd_check_id id, uint64_t value, const char *fmt, ...)
{
	struct mfd_check_finding *f = &c->found[id];
	va_list ap;

	if (f->count < MFD_CHECK_EXAMPLES) {
		va_start(ap, fmt);
		vsnprintf(f->example[f->count], sizeof(f->example[0]), fmt, ap);
		va_end(ap);
		mfd_image_text_clean(f->example[f->count]);
	}
	f->count++;
	if (value > f->value)
		f->value = value;
}

int mfd_check_is_open(const struct mfd_check *c, enum mfd_check_id id)
{
	const struct mfd_check_finding *f = &c->found[id];

	return f->count && !f->given && !f->added;
}

enum mfd_check_id mfd_check_impossible(const struct mfd_check *c)
{
	enum mfd_check_id id = 0;

	while (id < MFD_CHECK_KINDS &&
	       (mfd_check_kinds[id].verdict != MFD_CHECK_CANNOT || !mfd_check_is_open(c, id)))
		id++;
	return id;
}

int mfd_check_moves(const struct mfd_check *c)
{
	for (enum mfd_check_id id = 0; id < MFD_CHECK_KINDS; id++)
		if (mfd_check_kinds[id].verdict != MFD_CHECK_SLOW && mfd_check_is_open(c, id))
			return 0;
	return 1;
}

const char *mfd_check_option(const struct mfd_check *c, enum mfd_check_id id,
			     char text[MFD_CHECK_OPTION_TEXT])
{
	const struct mfd_check_kind *k = &mfd_check_kinds[id];

	if (!k->option)
		text[0] = 0;
	else if (k->valued)
		snprintf(text, MFD_CHECK_OPTION_TEXT, "--%s=%" PRIu64 "M", k->option,
			 (c->found[id].value + (1 << 20) - 1) >> 20);
	else
		snprintf(text, MFD_CHECK_OPTION_TEXT, "--%s", k->option);
	return text;
}
