/* SPDX-License-Identifier: GPL-2.0-only */
/* Text that came from another host or from a file, made fit for a terminal and for JSON. */
#ifndef MFD_IMAGE_TEXT_H
#define MFD_IMAGE_TEXT_H

/*
 * In place: bytes that are not UTF-8, control characters (an escape sequence begins with one) and
 * those that turn the direction of writing become '?'. Returns text.
 */
char *mfd_image_text_clean(char *text);
int mfd_image_text_is_clean(const char *text); /* nothing would become '?' */

#endif
