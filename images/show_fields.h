/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How `show` prints a number of a message: as it is, or, for the fields in a table, as flags, the
 * name of a constant or an address.  A new one is a row.
 */
#ifndef MFD_SHOW_FIELDS_H
#define MFD_SHOW_FIELDS_H

#include <json-c/json.h>
#include <protobuf-c/protobuf-c.h>
#include <stdint.h>

struct json_object *mfd_show_number(const ProtobufCMessageDescriptor *d, const char *field,
				    uint64_t v);
struct json_object *mfd_show_hex(uint64_t v);

#endif
