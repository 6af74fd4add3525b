// SPDX-License-Identifier: GPL-2.0-only
/* A scope of systemd's, by its bus; see restore_scope.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "io.h"
#include "restore_scope.h"

#define BUS_MS	 4000 /* for all of it: tasks stand still meanwhile, and WARDEN_MS is more */
#define LOOK_US	 5000
#define MOST	 200 /* bytes of a session's name that fit, escaped */
#define ATTEMPTS 2

static int needs_no_escape(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '.' || c == ':';
}

void mfd_restore_scope_name(const char *session, unsigned number, char name[MFD_RESTORE_SCOPE_NAME])
{
	size_t n = (size_t)sprintf(name, "criu-multifd-"), most = n + MOST;

	for (const char *c = session; *c && n + 4 <= most; c++)
		n += needs_no_escape(*c) ? (size_t)sprintf(name + n, "%c", *c) :
					   (size_t)sprintf(name + n, "\\x%02x", (uint8_t)*c);
	if (number)
		n += (size_t)sprintf(name + n, ".%u", number);
	sprintf(name + n, ".scope");
}

static uint64_t left_us(uint64_t end)
{
	uint64_t now = mfd_io_now_ms();

	return now < end ? (end - now) * 1000 : 0;
}

/* sd_bus_call() alone would wait for a bus that accepts, and says nothing, for minutes. */
static int connect_bus(sd_bus **bus, uint64_t end)
{
	int ret = sd_bus_open_system(bus);

	while (ret >= 0 && (ret = sd_bus_is_ready(*bus)) == 0) {
		ret = sd_bus_process(*bus, NULL);
		if (ret)
			continue;
		if (!left_us(end))
			return -ETIMEDOUT;
		ret = sd_bus_wait(*bus, left_us(end));
		ret = ret == -EINTR ? 0 : ret;
	}
	return ret < 0 ? ret : 0;
}

/*
 * Unlimited, and this program's to make groups in, as the server's unit is.  Process 0: the one
 * that asks, whatever its number is where systemd runs.
 */
static int append_properties(sd_bus_message *m, const char *session)
{
	char about[300];
	int ret;

	snprintf(about, sizeof(about), "Restored by criu-multifd, session %.255s", session);
	ret = sd_bus_message_open_container(m, 'a', "(sv)");
	ret = ret < 0 ? ret : sd_bus_message_append(m, "(sv)", "PIDs", "au", 1, (uint32_t)0);
	ret = ret < 0 ? ret : sd_bus_message_append(m, "(sv)", "Description", "s", about);
	ret = ret < 0 ? ret : sd_bus_message_append(m, "(sv)", "Delegate", "b", 1);
	ret = ret < 0 ? ret : sd_bus_message_append(m, "(sv)", "TasksMax", "t", UINT64_MAX);
	ret = ret < 0 ? ret :
			sd_bus_message_append(m, "(sv)", "CollectMode", "s", "inactive-or-failed");
	return ret < 0 ? ret : sd_bus_message_close_container(m);
}

/* systemd has accepted it: 0; -EEXIST: a unit has that name; or another -errno. */
static int ask(sd_bus *bus, const char *session, const char *name, uint64_t end,
	       sd_bus_error *error)
{
	sd_bus_message *m = NULL;
	int ret = sd_bus_message_new_method_call(bus, &m, "org.freedesktop.systemd1",
						 "/org/freedesktop/systemd1",
						 "org.freedesktop.systemd1.Manager",
						 "StartTransientUnit");

	ret = ret < 0 ? ret : sd_bus_message_append(m, "ss", name, "fail");
	ret = ret < 0 ? ret : append_properties(m, session);
	ret = ret < 0 ? ret : sd_bus_message_append(m, "a(sa(sv))", 0);
	if (ret >= 0 && !left_us(end)) /* 0 would be libsystemd's own limit */
		ret = -ETIMEDOUT;
	ret = ret < 0 ? ret : sd_bus_call(bus, m, left_us(end) + 1, error, NULL);
	sd_bus_message_unref(m);
	if (ret < 0 && sd_bus_error_has_name(error, "org.freedesktop.systemd1.UnitExists"))
		return -EEXIST;
	return ret < 0 ? ret : 0;
}

/* By any of its hierarchies: which of them systemd uses depends on how it was started. */
static int is_in(const char *name)
{
	char *text, *at;
	int found = 0;

	if (mfd_io_read_file(AT_FDCWD, "/proc/self/cgroup", 1 << 16, &text, NULL))
		return 0;
	for (at = text; !found && (at = strstr(at, name)); at++)
		found = at > text && at[-1] == '/' && at[strlen(name)] == '\n';
	free(text);
	return found;
}

static int await_move(const char *name, uint64_t end)
{
	while (!is_in(name)) {
		if (mfd_io_now_ms() >= end)
			return -ETIMEDOUT;
		usleep(LOOK_US);
	}
	return 0;
}

int mfd_restore_scope_enter(const char *session, char name[MFD_RESTORE_SCOPE_NAME], char *text,
			    size_t len)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	uint64_t end = mfd_io_now_ms() + BUS_MS;
	sd_bus *bus = NULL;
	int ret;

	name[0] = 0;
	if (sd_booted() <= 0)
		return 0;
	ret = connect_bus(&bus, end);
	for (unsigned i = 0; ret >= 0 && i < ATTEMPTS; i++) {
		sd_bus_error_free(&error);
		mfd_restore_scope_name(session, i ? (unsigned)getpid() : 0, name);
		ret = ask(bus, session, name, end, &error);
		if (ret != -EEXIST)
			break;
	}
	ret = ret < 0 ? ret : await_move(name, end);
	if (ret)
		snprintf(text, len, "%s", error.message ? error.message : strerror(-ret));
	sd_bus_error_free(&error);
	sd_bus_close_unref(bus);
	return ret;
}
