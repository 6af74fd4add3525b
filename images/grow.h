/* SPDX-License-Identifier: GPL-2.0-only */
/* Arrays that grow by one element: their room is the power of two at or above their length. */
#ifndef MFD_GROW_H
#define MFD_GROW_H

#include <stddef.h>

/*
 * Make room for one more element of `size` bytes in an array of `n`, all of which were added so.
 * `array` points to the pointer to it, NULL while n is 0; the caller frees that.  0 or -ENOMEM, and
 * then the array is as it was.
 */
int mfd_grow(void *array, size_t n, size_t size);

#endif
