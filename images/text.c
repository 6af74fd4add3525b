// SPDX-License-Identifier: GPL-2.0-only
/* Text that came from another host or from a file, made fit for a terminal and for JSON. */
#include <stddef.h>

#include "text.h"

/* Bytes of the UTF-8 character at s (Unicode 15, table 3-7); 0: none, or a control character. */
static size_t character(const unsigned char *s)
{
	size_t n = 0;

	if (*s < 0x80)
		return *s >= 0x20 && *s != 0x7f;
	if (*s >= 0xc2 && *s <= 0xdf)
		n = 2;
	else if (*s >= 0xe0 && *s <= 0xef)
		n = 3;
	else if (*s >= 0xf0 && *s <= 0xf4)
		n = 4;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((*s == 0xc2 && s[1] < 0xa0) || /* C1 controls */
	    (*s == 0xe0 && s[1] < 0xa0) || (*s == 0xed && s[1] >= 0xa0) ||
	    (*s == 0xf0 && s[1] < 0x90) || (*s == 0xf4 && s[1] >= 0x90))
		return 0;
	return n;
}

char *mfd_image_text_clean(char *text)
{
	size_t n;

	for (char *p = text; *p; p += n ? n : 1) {
		n = character((unsigned char *)p);
		if (!n)
			*p = '?';
	}
	return text;
}
