// SPDX-License-Identifier: GPL-2.0-only
/* What the server keeps of a session in its folder, as the tests look at it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk.h"
#include "server.h"

int disk_state(const char *name, char *error, size_t len)
{
	struct mfd_session_file f;
	int st;

	if (mfd_session_file_find(server_root, name, &f))
		return 0;
	st = f.entry ? (int)f.entry->state : -1;
	if (error)
		snprintf(error, len, "%s", f.entry && f.entry->error ? f.entry->error : "");
	mfd_session_file_release(&f);
	return st;
}

int disk_in_doubt(const char *name)
{
	struct mfd_session_file f;
	int yes;

	if (mfd_session_file_find(server_root, name, &f))
		return 0;
	yes = f.entry && f.entry->in_doubt;
	mfd_session_file_release(&f);
	return yes;
}

void disk_wait_state(const char *name, int want)
{
	int i, st = -1;

	for (i = 0; i < 1000; i++, usleep(10000)) {
		st = disk_state(name, NULL, 0);
		if (st == want)
			return;
	}
	fail_msg("%s is %s, not %s", name, mfd_session_file_state((Mfd__SessionState)st),
		 mfd_session_file_state((Mfd__SessionState)want));
}

void disk_wait_doubt(const char *name, int want)
{
	int i;

	for (i = 0; i < 1000; i++, usleep(10000)) {
		if (disk_in_doubt(name) == want)
			return;
	}
	fail_msg("in_doubt is not %d", want);
}

int disk_has_folder(const char *name)
{
	struct stat st;

	return !fstatat(server_root, name, &st, AT_SYMLINK_NOFOLLOW);
}

void disk_load(const char *name, struct mfd_session_file *f)
{
	assert_int_equal(mfd_session_file_find(server_root, name, f), 0);
	assert_non_null(f->entry);
}

void disk_wait_free(const char *name)
{
	char text[80], answer[513];
	int i;

	snprintf(text, sizeof(text), "resolve %s run", name);
	for (i = 0; i < 1000 && server_request(text, answer, sizeof(answer)); i++, usleep(10000))
		if (!strstr(answer, "just end") && !strstr(answer, "busy"))
			return;
}

void disk_expect_gone(const char *name, const char *why)
{
	char error[512] = "";
	int i;

	disk_wait_state(name, MFD__SESSION_STATE__ABORTED);
	for (i = 0; i < 300 && disk_has_folder(name); i++)
		usleep(10000);
	assert_false(disk_has_folder(name));
	disk_wait_free(name);
	disk_state(name, error, sizeof(error));
	if (!strstr(error, why))
		fail_msg("\"%s\" does not mention \"%s\"", error, why);
}
