// SPDX-License-Identifier: GPL-2.0-only
/* Growing an array by one element. */
#include <errno.h>
#include <stdlib.h>

#include "grow.h"

int mfd_grow(void *array, size_t n, size_t size)
{
	void **a = array, *more;

	if (n & (n - 1))
		return 0;
	more = reallocarray(*a, n ? 2 * n : 1, size);
	if (!more)
		return -ENOMEM;
	*a = more;
	return 0;
}
