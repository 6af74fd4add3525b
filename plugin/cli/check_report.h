/* SPDX-License-Identifier: GPL-2.0-only */
/* What check has found, for people and as JSON. */
#ifndef MFD_CHECK_REPORT_H
#define MFD_CHECK_REPORT_H

#include <json-c/json.h>

#include "check.h"

/* Add "moves", "options", "findings" and the figures to an object. */
void mfd_check_json(struct json_object *j, const struct mfd_check *c);
void mfd_check_text(const struct mfd_check *c);

#endif
