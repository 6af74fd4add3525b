/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The types of values that options have: how a text becomes a value and a value a text again.
 *
 * Every source of options parses a value here, so all of them allow the same and complain alike.  A
 * new type is an object with its functions; the table in options.c names it.
 */
#ifndef MFD_OPTION_TYPES_H
#define MFD_OPTION_TYPES_H

#include "options.h"

struct mfd_option_type {
	/*
	 * Parse `value` into *field, which is in struct mfd_options: 0, or -EINVAL with what is
	 * allowed in err (the caller adds the place and the option's name).
	 */
	int (*set)(void *field, const struct mfd_option_desc *d, const char *value,
		   struct mfd_error *err);
	/* Write the value as `set` takes it.  Not for texts. */
	void (*print)(const void *field, const struct mfd_option_desc *d, FILE *f);
	size_t size;		  /* of the field */
	int is_text;		  /* the field is a char *, NULL when unset, owned by the struct */
	const char *const *names; /* of an enumeration: the value's name, from d->min to d->max */
};

/*
 * Texts; each checks the form alone: whether a thing of that name exists is seen when it is used.
 */
extern const struct mfd_option_type mfd_option_types_text, mfd_option_types_target,
	mfd_option_types_session, mfd_option_types_congestion, mfd_option_types_absolute,
	mfd_option_types_tls_dir, mfd_option_types_cpr, mfd_option_types_addresses;
/* Numbers from d->min to d->max: plain, signed, of bytes in steps of 64k, and of milliseconds. */
extern const struct mfd_option_type mfd_option_types_number, mfd_option_types_level,
	mfd_option_types_bytes, mfd_option_types_ms;
extern const struct mfd_option_type mfd_option_types_rate; /* lib/rate.h */
/* Enumerations. */
extern const struct mfd_option_type mfd_option_types_tristate, mfd_option_types_compress,
	mfd_option_types_mode, mfd_option_types_confirm, mfd_option_types_log_level,
	mfd_option_types_page_dump, mfd_option_types_precopy_else, mfd_option_types_precopy_check;

#endif
