// SPDX-License-Identifier: GPL-2.0-only
/* A comparison in constant time. */
#include <stdint.h>

#include "secret.h"

int mfd_secret_equal(const void *a, size_t a_len, const void *b, size_t b_len)
{
	const uint8_t *x = a, *y = b;
	volatile uint8_t diff = 0; /* the compiler must not leave the loop early */

	if (a_len != b_len)
		return 0;
	for (size_t i = 0; i < a_len; i++)
		diff |= x[i] ^ y[i];
	return !diff;
}
