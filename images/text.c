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

/* Characters that change the direction or the line of what stands around them. */
static int misleads(const unsigned char *s, size_t n)
{
	return (n == 2 && s[0] == 0xd8 && s[1] == 0x9c) ||
	       (n == 3 && s[0] == 0xe2 && s[1] == 0x80 &&
		(s[2] == 0x8e || s[2] == 0x8f || (s[2] >= 0xa8 && s[2] <= 0xae))) ||
	       (n == 3 && s[0] == 0xe2 && s[1] == 0x81 && s[2] >= 0xa6 && s[2] <= 0xa9);
}

int mfd_image_text_is_clean(const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t n;

	for (; *p; p += n) {
		n = character(p);
		if (!n || misleads(p, n))
			return 0;
	}
	return 1;
}

char *mfd_image_text_clean(char *text)
{
	size_t n;

	for (char *p = text; *p; p += n ? n : 1) {
		n = character((unsigned char *)p);
		if (n && misleads((unsigned char *)p, n))
			n = 0;
		if (!n)
			*p = '?';
	}
	return text;
}
