/* SPDX-License-Identifier: GPL-2.0-only */
/* The elements of our protocol's streams: greetings and their answers, messages, packets. */
#ifndef BADLINK_ELEMENT_H
#define BADLINK_ELEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ELEMENT_HEAD 64 /* at most */
#define ELEMENT_NAME 24

struct element {
	char name[ELEMENT_NAME];
	size_t head;  /* and for packets their table: not payload */
	size_t total; /* SIZE_MAX: no border follows any more */
};

/*
 * How many bytes must be there to know the next element of a stream from the source (`forth`) or to
 * it; 0 = there are no elements (any more).
 */
size_t element_head(uint8_t role, bool forth, bool begun);
/* That many bytes are there; a greeting sets *role. */
void element_open(struct element *e, const uint8_t *head, uint8_t *role, bool forth, bool begun);

#endif
