/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sentences for *why: one buffer per thread, so that they can name file and offset and need not be
 * freed.
 */
#ifndef MFD_IMAGE_WHY_H
#define MFD_IMAGE_WHY_H

/*
 * Formats into the thread's buffer, points *why (may be NULL) to it and returns `code`. Earlier
 * sentences of it are gone.
 */
int mfd_image_why(const char **why, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
