/* SPDX-License-Identifier: GPL-2.0-only */
/* The first 64 bytes of a connection, and the numbers of an answer. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mfd_wire_greeting g = { .magic = 0 }, again;
	const char *why = NULL;
	int ret;

	if (!size)
		return 0;
	memcpy(&g, data, size < sizeof(g) ? size : sizeof(g));
	again = g;
	ret = mfd_wire_greeting_open(&g, &why);
	if (ret) {
		if ((ret != -EPROTO && ret != -EPROTONOSUPPORT) || !why)
			abort();
		return 0;
	}
	if (g.channel >= MFD_WIRE_MAX_CHANNELS || g.role < MFD_WIRE_ROLE_CONTROL ||
	    g.role > MFD_WIRE_ROLE_URGENT)
		abort();
	mfd_wire_greeting_seal(&g);
	if (memcmp(&g, &again, sizeof(g))) /* what is accepted has one form only */
		abort();
	return !mfd_wire_join_error(data[0]) || !mfd_wire_msg_name(data[0]) ? -1 : 0;
}
