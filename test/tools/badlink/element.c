// SPDX-License-Identifier: GPL-2.0-only
/* What comes next in a stream, by its header, which is not verified. */
#include <endian.h>
#include <stdio.h>
#include <string.h>

#include "element.h"
#include "wire.h"

size_t element_head(uint8_t role, bool forth, bool begun)
{
	if (forth && !begun)
		return sizeof(struct mfd_wire_greeting);
	if (role == MFD_WIRE_ROLE_CONTROL)
		return sizeof(struct mfd_wire_frame);
	if (role != MFD_WIRE_ROLE_DATA && role != MFD_WIRE_ROLE_URGENT)
		return 0;
	if (forth)
		return sizeof(struct mfd_wire_packet);
	return begun ? 0 : sizeof(struct mfd_wire_joined);
}

static void name(struct element *e, const char *text)
{
	snprintf(e->name, sizeof(e->name), "%s", text);
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static void open_packet(struct element *e, const uint8_t *head, uint8_t role)
{
	struct mfd_wire_packet h;

	memcpy(&h, head, sizeof(h));
	e->head += le32toh(h.table_len);
	e->total = e->head + le32toh(h.payload_len);
	name(e, role == MFD_WIRE_ROLE_URGENT	? "urgent" :
		h.type == MFD_WIRE_PACKET_PAGES ? "pages" :
		h.type == MFD_WIRE_PACKET_FILE	? "file" :
						  "sync");
}

void element_open(struct element *e, const uint8_t *head, uint8_t *role, bool forth, bool begun)
{
	e->head = e->total = element_head(*role, forth, begun);
	if (!e->head) {
		e->total = SIZE_MAX;
	} else if (e->head == sizeof(struct mfd_wire_frame)) {
		name(e, mfd_wire_msg_name(head[4] | head[5] << 8));
		e->total += get32(head + 8);
	} else if (e->head == sizeof(struct mfd_wire_joined)) {
		name(e, "join_ok");
	} else if (!begun) {
		*role = ((const struct mfd_wire_greeting *)head)->role;
		name(e, *role == MFD_WIRE_ROLE_CONTROL ? "greeting" :
			*role == MFD_WIRE_ROLE_DATA    ? "join" :
							 "join_urgent");
	} else {
		open_packet(e, head, *role);
	}
}
