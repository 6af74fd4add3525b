// SPDX-License-Identifier: GPL-2.0-only
/* What a session's state means, in words for people. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "text.h"
#include "words.h"

int mfd_words_in_rounds(const Mfd__SessionEntry *e)
{
	return e->state == MFD__SESSION_STATE__RECEIVING && e->precopy && !e->images_us &&
	       e->has_joined_us;
}

const char *mfd_words_state(const Mfd__SessionEntry *e)
{
	switch (e->state) {
	case MFD__SESSION_STATE__RECEIVING:
		return e->held && !strcmp(e->held, "queued") ? "waits for memory" :
		       mfd_words_in_rounds(e)		     ? "receiving in rounds" :
							       "receiving";
	case MFD__SESSION_STATE__RESTORABLE:
		return "restorable, pages still arrive";
	case MFD__SESSION_STATE__RUNNING:
		return "running, pages still arrive";
	case MFD__SESSION_STATE__READY:
		return "ready, the source decides";
	case MFD__SESSION_STATE__RESTORED:
		return e->ran_held ?
			       "restored, and stopped again after it ran, the source decides" :
			       "restored and stopped, the source decides";
	case MFD__SESSION_STATE__COMMITTED:
		return "committed";
	case MFD__SESSION_STATE__DONE:
		return "done";
	case MFD__SESSION_STATE__ABORTED:
		return "aborted";
	default:
		return "unknown";
	}
}

int mfd_words_final(const Mfd__SessionEntry *e)
{
	return e->state == MFD__SESSION_STATE__DONE || e->state == MFD__SESSION_STATE__ABORTED;
}

int mfd_words_server_runs(const Mfd__SessionEntry *e)
{
	char path[48], comm[32] = "";
	int fd;

	if (!e->has_server_pid)
		return 0;
	snprintf(path, sizeof(path), "/proc/%u/comm", e->server_pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (read(fd, comm, sizeof(comm) - 1) < 0)
		*comm = 0;
	close(fd);
	return !strncmp(comm, "criu-multifd", 12);
}

/* An operator may copy the command into a shell, and the name came from another host. */
static const char *command_name(const char *name)
{
	static const char harmless[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

	return *name != '-' && !name[strspn(name, harmless)] ? name : "SESSION";
}

/* Complete, committed, and for a person to restore. */
static int runs_nowhere(const Mfd__SessionEntry *e)
{
	return e->state == MFD__SESSION_STATE__COMMITTED && !e->confirm_restore && !e->postcopy &&
	       !e->restored_us && !e->installed_pages && !e->unloadable;
}

const char *mfd_words_advice(const Mfd__SessionEntry *e, const char *dir, char *buf, size_t len)
{
	const char *name = command_name(e->name);
	char source[256];

	if (e->unloadable) {
		snprintf(
			buf, len,
			"The server cannot load it: %.300s.\n"
			"It tries again now and then. It may be the only copy: to give it up for good:\n"
			"criu-multifd resolve --dir %s %s --discard",
			mfd_image_text_clean(e->unloadable), dir, name);
		return buf;
	}
	if (e->both_run) {
		snprintf(buf, len,
			 "BOTH RUN: the tasks here, and those on %s, say so. End one of the two.",
			 e->source ? mfd_image_text_clean(e->source) : "the source");
		return buf;
	}
	if (e->state == MFD__SESSION_STATE__ABORTED && e->running_us && !e->by_person) {
		snprintf(
			buf, len,
			"It had leave to run here.  If its source is frozen still, only a person lets it go on:\n"
			"there: criu-multifd resolve --source DIR --run\n"
			"or here: criu-multifd resolve --dir %s %s --discard",
			dir, name);
		return buf;
	}
	if (e->ran_held && e->state == MFD__SESSION_STATE__ABORTED) {
		snprintf(
			buf, len,
			"BOTH HAVE RUN: restored process %u ran here though it was held; if the tasks on %s run on, "
			"what it did was done twice.",
			e->ran_held, e->source ? mfd_image_text_clean(e->source) : "the source");
		return buf;
	}
	if (!e->in_doubt && runs_nowhere(e)) {
		snprintf(
			buf, len,
			"It runs nowhere yet: its source has let go, and here it is to be restored:\n"
			"criu-multifd restore --dir %s %s",
			dir, name);
		return buf;
	}
	if (!e->in_doubt)
		return NULL;
	snprintf(source, sizeof(source), "%s", e->source ? e->source : "the source");
	mfd_image_text_clean(source);
	if (e->source_gone && e->state == MFD__SESSION_STATE__RUNNING)
		snprintf(
			buf, len,
			"The tasks run here and lack pages, and %s says that its tasks are dead: these pages are lost.\n"
			"A task that needs one of them waits for ever. To end what is left:\n"
			"criu-multifd resolve --dir %s %s --discard",
			source, dir, name);
	else if (e->source_gone)
		snprintf(
			buf, len,
			"Everything is here, and %s says that its tasks are dead: this is the only copy.\n"
			"To let it run: criu-multifd resolve --dir %s %s --run",
			source, dir, name);
	else if (e->state == MFD__SESSION_STATE__RUNNING)
		snprintf(
			buf, len,
			"The tasks run here; pages they still need are only in the frozen tasks on %s.\n"
			"Do not kill those: bring the connection back, and the session goes on, unless that host was started\n"
			"anew since (then these pages are lost, and 'status --source' says so there).\n"
			"To give the tasks here up, with all they did since:\n"
			"criu-multifd resolve --dir %s %s --discard",
			source, dir, name);
	else
		snprintf(
			buf, len,
			"Everything is here, but %s cannot be asked whether its tasks are dead.\n"
			"Look there. Never let both run.\n"
			"If they run or are frozen there: criu-multifd resolve --dir %s %s --discard\n"
			"If they are gone, this is the only copy: criu-multifd resolve --dir %s %s --run",
			source, dir, name, dir, name);
	return buf;
}

const char *mfd_words_bytes(uint64_t bytes, char *buf, size_t len)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double v = bytes;
	unsigned u = 0;

	for (; v >= 1024 && u < 6; u++)
		v /= 1024;
	snprintf(buf, len, u && v < 100 ? "%.1f %s" : "%.0f %s", v, units[u]);
	return buf;
}

const char *mfd_words_rate(uint64_t bytes, uint64_t us, char *buf, size_t len)
{
	double v = us ? (double)bytes / us : 0; /* bytes per us are MB/s */

	if (!us || !bytes)
		snprintf(buf, len, "-");
	else if (v >= 1000)
		snprintf(buf, len, "%.2f GB/s", v / 1000);
	else
		snprintf(buf, len, "%.*f MB/s", v < 10 ? 1 : 0, v);
	return buf;
}

const char *mfd_words_age(uint64_t us, char *buf, size_t len)
{
	uint64_t s = us / 1000000;

	if (s < 60)
		snprintf(buf, len, "%" PRIu64 "s", s);
	else if (s < 3600)
		snprintf(buf, len, "%" PRIu64 "m%02us", s / 60, (unsigned)(s % 60));
	else if (s < 86400)
		snprintf(buf, len, "%" PRIu64 "h%02um", s / 3600, (unsigned)(s / 60 % 60));
	else
		snprintf(buf, len, "%" PRIu64 "d%02uh", s / 86400, (unsigned)(s / 3600 % 24));
	return buf;
}
