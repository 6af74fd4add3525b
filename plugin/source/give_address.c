// SPDX-License-Identifier: GPL-2.0-only
/* The addresses that move, on the source. */
#include <stdio.h>

#include "give_address.h"
#include "log.h"

unsigned mfd_address_count(const struct mfd_options *o)
{
	struct mfd_netaddr a[MFD_NETADDR_MAX];
	int n = mfd_netaddr_parse_list(o->move_address, a, NULL);

	return n < 0 ? 0 : (unsigned)n;
}

size_t mfd_address_hello(const struct mfd_options *o, char **words, char text[][MFD_ADDRESS_TEXT])
{
	struct mfd_netaddr a[MFD_NETADDR_MAX];
	int n = mfd_netaddr_parse_list(o->move_address, a, NULL), i;

	for (i = 0; i < n; i++) {
		snprintf(text[i], MFD_ADDRESS_TEXT, "%s@%s", a[i].text, a[i].to);
		words[i] = text[i];
	}
	return (size_t)i;
}

void mfd_address_release(const struct mfd_options *o)
{
	struct mfd_netaddr a[MFD_NETADDR_MAX];
	int n = mfd_netaddr_parse_list(o->move_address, a, NULL);

	for (int i = 0; i < n; i++) {
		struct mfd_error err = { 0 };

		if (mfd_netaddr_delete(&a[i], a[i].from, &err))
			mfd_log_error("%s; it is the target's now, remove it by hand",
				      mfd_error_text(&err));
	}
}

void mfd_address_back(const struct mfd_options *o)
{
	struct mfd_netaddr a[MFD_NETADDR_MAX];
	int n = mfd_netaddr_parse_list(o->move_address, a, NULL);

	for (int i = 0; i < n; i++) {
		struct mfd_error err = { 0 };

		if (mfd_netaddr_has(&a[i], a[i].from, &err) != 0 && !err.code)
			continue;
		if (mfd_netaddr_add(&a[i], a[i].from, &err) ||
		    mfd_netaddr_announce(&a[i], a[i].from, &err))
			mfd_log_error("%s", mfd_error_text(&err));
	}
}
