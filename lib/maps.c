// SPDX-License-Identifier: GPL-2.0-only
/*
 * The parser of /proc/PID/maps and smaps (Documentation/filesystems/proc.rst).
 *
 * smaps is maps with "Name: value" lines after each mapping, so one parser does for both: such a
 * line begins with a capital letter, a mapping with a hexadecimal digit in lower case.  A mapping
 * is handed on when the next one begins.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "maps.h"

struct line {
	char *text;
	size_t room;
};

static char *next_field(char *s)
{
	s += strcspn(s, " ");
	return s + strspn(s, " ");
}

/* Parse "start-end rwxp offset major:minor inode   name"; name points into the line. */
static int parse_mapping(char *line, struct mfd_map *m)
{
	char *s, *flags;

	*m = (struct mfd_map){ .start = strtoull(line, &s, 16) };
	if (s == line || *s != '-')
		return -EPROTO;
	m->end = strtoull(s + 1, &s, 16);
	flags = s + 1;
	if (*s != ' ' || strlen(flags) < 5 || flags[4] != ' ')
		return -EPROTO;
	m->read = flags[0] == 'r';
	m->write = flags[1] == 'w';
	m->exec = flags[2] == 'x';
	m->shared = flags[3] != 'p';
	m->major = (unsigned)strtoul(next_field(next_field(flags)), &s, 16);
	if (*s != ':')
		return -EPROTO;
	m->minor = (unsigned)strtoul(s + 1, &s, 16);
	if (*s != ' ')
		return -EPROTO;
	m->inode = strtoull(s, &s, 10);
	m->name = s + strspn(s, " ");
	return *s && *s != ' ' ? -EPROTO : 0;
}

/* A value line of smaps; VmFlags are listed in the kernel's fs/proc/task_mmu.c. */
static void parse_detail(const char *line, struct mfd_map *m)
{
	if (!strncmp(line, "THPeligible:", 12)) {
		m->thp_eligible = strtoul(line + 12, NULL, 10) > 0;
	} else if (!strncmp(line, "VmFlags:", 8)) {
		m->locked = strstr(line, " lo") != NULL;
		m->hugetlb = strstr(line, " ht") != NULL;
		m->droppable = strstr(line, " dp") != NULL;
		m->shadow_stack = strstr(line, " ss") != NULL;
		m->no_reserve = strstr(line, " nr") != NULL;
	}
}

/* The mapping's name lies in `head` until the next mapping is read into `line`. */
static int parse_lines(FILE *f, struct line *line, struct line *head, mfd_maps_fn *fn, void *arg)
{
	struct mfd_map m;
	int known = 0, ret = 0;
	ssize_t n;

	while (!ret && (n = getline(&line->text, &line->room, f)) > 0) {
		if (line->text[n - 1] == '\n')
			line->text[n - 1] = '\0';
		if (line->text[0] >= 'A' && line->text[0] <= 'Z') {
			if (known)
				parse_detail(line->text, &m);
			continue;
		}
		ret = known ? fn(&m, arg) : 0;
		if (!ret) {
			struct line swap = *head;

			*head = *line;
			*line = swap;
			ret = parse_mapping(head->text, &m);
			known = !ret;
		}
	}
	if (!ret && ferror(f))
		ret = -EIO;
	return !ret && known ? fn(&m, arg) : ret;
}

int mfd_maps_parse(FILE *f, mfd_maps_fn *fn, void *arg)
{
	struct line line = { 0 }, head = { 0 };
	int ret = parse_lines(f, &line, &head, fn, arg);

	free(line.text);
	free(head.text);
	return ret;
}

int mfd_maps_each(pid_t pid, enum mfd_maps_source source, mfd_maps_fn *fn, void *arg)
{
	char path[64];
	FILE *f;
	int ret;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, source == MFD_SMAPS ? "smaps" : "maps");
	f = fopen(path, "re");
	if (!f)
		return -errno;
	ret = mfd_maps_parse(f, fn, arg);
	fclose(f);
	return ret;
}

int mfd_maps_is_private_anonymous(const struct mfd_map *m)
{
	return !m->shared && !m->major && !m->minor && !m->inode;
}
