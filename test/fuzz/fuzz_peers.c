/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The input as the file of what peers may do.  It is refused with a sentence that names a line, or
 * taken; then no block permits what it does not name.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "rights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int ok)
{
	if (!ok)
		abort();
}

static void ask(const struct mfd_rights *r, const char *names)
{
	const struct mfd_right *b = mfd_rights_find(r, names);

	if (!b)
		return;
	must(b->peer && b->line);
	must(b->sessions.n || !mfd_right_session(b, "web"));
	must(b->restore_options.n || !mfd_right_restore_option(b, "tcp-established"));
	must(b->addresses.n || !mfd_right_address(b, "192.0.2.1/24@eth0"));
	must(b->cpr_offers.n || !mfd_right_cpr_offer(b, "pipe:[1]"));
	must(!mfd_right_restore_option(b, "exec-cmd"));
	(void)mfd_right_session(b, "web");
	(void)mfd_right_address(b, "192.0.2.1/24@eth0:eth1");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mfd_error err = { .code = 0 };
	struct mfd_rights *r = NULL;
	char *text = malloc(size + 1);

	must(text != NULL);
	memcpy(text, data, size);
	text[size] = 0;
	if (mfd_rights_parse(&r, text, size, "peers", &err)) {
		must(!r && err.code && !strncmp(err.text, "peers:", 6));
	} else {
		ask(r, "");
		ask(r, "x509:db1.example.org\nspki:00");
		ask(r, "psk:web");
		mfd_rights_put(r);
	}
	free(text);
	return 0;
}
