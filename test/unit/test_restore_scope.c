// SPDX-License-Identifier: GPL-2.0-only
/*
 * A scope of systemd's for restored tasks: its name, what is done where there is none, and that
 * status finds it.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <cmocka.h>

#include "restore_scope.h"
#include "status.h"

static void names(void **state)
{
	char name[MFD_RESTORE_SCOPE_NAME], long_one[256];

	(void)state;
	mfd_restore_scope_name("web_1.2", 0, name);
	assert_string_equal(name, "criu-multifd-web_1.2.scope");
	mfd_restore_scope_name("my db-1", 77, name);
	assert_string_equal(name, "criu-multifd-my\\x20db\\x2d1.77.scope");
	memset(long_one, '-', 255);
	long_one[255] = 0;
	mfd_restore_scope_name(long_one, 4194304, name);
	assert_true(strlen(name) < 230);
	assert_string_equal(name + strlen(name) - 18, "\\x2d.4194304.scope");
	assert_true(mfd_status_scope_of("/a/criu-multifd-b/x", name) == 0);
}

static void status_finds_it(void **state)
{
	static const char group[] =
		"/system.slice/criu-multifd-a\\x20b.scope/criu-multifd.held.1/0";
	Mfd__SessionEntry e = MFD__SESSION_ENTRY__INIT;
	char name[MFD_STATUS_SCOPE];

	(void)state;
	assert_true(mfd_status_scope_of(group, name));
	assert_string_equal(name, "criu-multifd-a\\x20b.scope");
	assert_false(mfd_status_scope_of("/system.slice/criu-multifd.service", name));
	assert_false(mfd_status_scope_of("/criu-multifd-.scope", name));
	assert_false(mfd_status_scope_of("/", name));
	assert_null(mfd_status_scope(&e, name));
}

/* It accepts, and says nothing. */
static void mute_bus(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "/run/mute-bus" };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 8), 0);
	setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/run/mute-bus", 1);
}

static void without_systemd(void **state)
{
	char name[MFD_RESTORE_SCOPE_NAME] = "x", why[200] = "";

	(void)state;
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/run", "tmpfs", 0, NULL)) {
		print_message("# skip: nothing can be mounted here\n");
		skip();
	}
	assert_int_equal(mfd_restore_scope_enter("s", name, why, sizeof(why)), 0);
	assert_string_equal(name, "");
	assert_string_equal(why, "");
	/* systemd, and no bus */
	assert_int_equal(mkdir("/run/systemd", 0755), 0);
	assert_int_equal(mkdir("/run/systemd/system", 0755), 0);
	setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/run/no-bus", 1);
	assert_true(mfd_restore_scope_enter("s", name, why, sizeof(why)) < 0);
	assert_true(*why);
	mute_bus();
	assert_int_equal(mfd_restore_scope_enter("s", name, why, sizeof(why)), -ETIMEDOUT);
	assert_true(*why);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(status_finds_it),
		cmocka_unit_test(without_systemd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
