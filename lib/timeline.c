// SPDX-License-Identifier: GPL-2.0-only
/* When things happened, in the order in which they did. */
#include <stdio.h>

#include "timeline.h"

void mfd_timeline_sort(struct mfd_event *e, size_t n)
{
	for (size_t i = 1; i < n; i++)
		for (size_t k = i; k && e[k - 1].us > e[k].us; k--) {
			struct mfd_event swap = e[k];

			e[k] = e[k - 1];
			e[k - 1] = swap;
		}
}

struct json_object *mfd_timeline_ms(uint64_t us)
{
	char text[32]; /* or json-c prints seventeen digits */

	snprintf(text, sizeof(text), "%.3f", (double)us / 1000.0);
	return json_object_new_double_s((double)us / 1000.0, text);
}

struct json_object *mfd_timeline_json(struct mfd_event *e, size_t n, uint64_t start)
{
	struct json_object *a = json_object_new_array();

	mfd_timeline_sort(e, n);
	for (size_t i = 0; i < n; i++) {
		struct json_object *o = e[i].us ? json_object_new_object() : NULL;

		if (!o)
			continue;
		json_object_object_add(o, "phase", json_object_new_string(e[i].name));
		json_object_object_add(o, "ms",
				       mfd_timeline_ms(e[i].us > start ? e[i].us - start : 0));
		json_object_array_add(a, o);
	}
	return a;
}
