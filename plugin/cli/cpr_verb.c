// SPDX-License-Identifier: GPL-2.0-only
/* criu-multifd cpr: list, offer and drop what the keeper holds; start the program anew in place. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "flags.h"
#include "io.h"
#include "keeper_client.h"
#include "request.h"
#include "session_file.h"
#include "text.h"
#include "wire.h"

#define EXEC_MS 30000

struct cpr {
	const char *dir, *keeper;
	int json;
	struct mfd_flags_args args;
};

static int complain(const char *what, int ret)
{
	fprintf(stderr, "criu-multifd cpr: %s: %s\n", what, strerror(-ret));
	return MFD_EXIT_FAILED;
}

static int reach(const struct cpr *c)
{
	char path[PATH_MAX];
	int sock;

	snprintf(path, sizeof(path), "%s/" MFD_KEEPER_SOCKET, c->dir);
	sock = mfd_keeper_connect(c->keeper ? c->keeper : path);
	if (sock < 0)
		fprintf(stderr, "criu-multifd cpr: no keeper at %s: %s\n",
			c->keeper ? c->keeper : path, strerror(-sock));
	return sock;
}

/* ---- list ---- */

struct row {
	char *session, *name;
	uint64_t id, age_ms;
	uint32_t flags;
};

struct rows {
	struct row *v;
	size_t n, room;
};

static int keep_row(void *ctx, const struct mfd_keeper_msg *m)
{
	struct rows *r = ctx;

	if (r->n == r->room) {
		size_t room = r->room ? r->room * 2 : 64;
		struct row *more = realloc(r->v, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		r->v = more;
		r->room = room;
	}
	r->v[r->n] = (struct row){ .session = strdup(m->session),
				   .name = strdup(m->name),
				   .id = m->id,
				   .age_ms = m->age_ms,
				   .flags = m->flags };
	return r->v[r->n].session && r->v[r->n].name ? (r->n++, 0) : -ENOMEM;
}

static int by_name(const void *x, const void *y)
{
	const struct row *a = x, *b = y;
	int d = strcmp(a->session, b->session);

	d = d ? d : strcmp(a->name, b->name);
	return d ? d : a->id < b->id ? -1 : a->id > b->id;
}

static const char *which(const struct row *r)
{
	return r->flags & MFD_KEEPER_KEPT ? "kept" : "offered";
}

static void print_json(const struct rows *r)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < r->n; i++) {
		const struct row *v = &r->v[i];
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "session", json_object_new_string(v->session));
		json_object_object_add(o, "name",
				       json_object_new_string(mfd_image_text_clean(v->name)));
		json_object_object_add(
			o, "id", v->id == MFD_KEEPER_ANY_ID ? NULL : json_object_new_uint64(v->id));
		json_object_object_add(o, "how", json_object_new_string(which(v)));
		json_object_object_add(o, "age_ms", json_object_new_uint64(v->age_ms));
		json_object_array_add(list, o);
	}
	puts(json_object_to_json_string_ext(list, JSON_C_TO_STRING_PRETTY |
							  JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(list);
}

static void print_table(const struct rows *r)
{
	int width = 7;

	for (size_t i = 0; i < r->n; i++)
		width = (int)strlen(r->v[i].session) > width ? (int)strlen(r->v[i].session) : width;
	if (r->n)
		printf("%-*s  %-7s  %8s  %20s  %s\n", width, "SESSION", "HOW", "AGE", "ID", "NAME");
	for (size_t i = 0; i < r->n; i++) {
		const struct row *v = &r->v[i];
		char id[24] = "any";

		if (v->id != MFD_KEEPER_ANY_ID)
			snprintf(id, sizeof(id), "%" PRIu64, v->id);
		printf("%-*s  %-7s  %7llus  %20s  %s\n", width, v->session, which(v),
		       (unsigned long long)v->age_ms / 1000, id, mfd_image_text_clean(v->name));
	}
}

static int list(const struct cpr *c, int sock)
{
	struct rows r = { 0 };
	int ret = mfd_keeper_list(sock, c->args.n > 1 ? c->args.v[1] : NULL, keep_row, &r);

	if (ret)
		return complain("list", ret);
	if (r.n)
		qsort(r.v, r.n, sizeof(*r.v), by_name);
	if (c->json)
		print_json(&r);
	else
		print_table(&r);
	for (size_t i = 0; i < r.n; i++) {
		free(r.v[i].session);
		free(r.v[i].name);
	}
	free(r.v);
	return MFD_EXIT_OK;
}

/* ---- offer, drop ---- */

/* Cut the ID off NAME[:ID]. "pipe:[123]" has none: its last part is no number. */
static uint64_t split_id(char *name)
{
	char *colon = strrchr(name, ':'), *end;
	unsigned long long id;

	if (!colon || colon == name || colon[1] < '0' || colon[1] > '9')
		return MFD_KEEPER_ANY_ID;
	errno = 0;
	id = strtoull(colon + 1, &end, 10);
	if (*end || errno)
		return MFD_KEEPER_ANY_ID;
	*colon = 0;
	return id;
}

/*
 * It may come yet; or its name is misspelt, and only a person can tell.  The folder of a keeper
 * without a server has no sessions.
 */
static void say_if_unknown(const struct cpr *c)
{
	int dirfd = c->keeper ? -1 : open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int served = dirfd >= 0 && !faccessat(dirfd, MFD_REQUEST_SOCKET, F_OK, 0);
	struct mfd_session_file f;
	int ret = served ? mfd_session_file_find(dirfd, c->args.v[1], &f) : -EBADF;

	if (!ret)
		mfd_session_file_release(&f);
	if (ret == -ENOENT)
		fprintf(stderr,
			"criu-multifd cpr: " MFD_NO_SESSION
			" yet: the offer is kept for one of that name\n",
			c->args.v[1], c->dir);
	mfd_io_close(&dirfd);
}

static int offer(const struct cpr *c, int sock)
{
	struct mfd_keeper_msg m;
	uint64_t id = split_id(c->args.v[2]);
	int ret = mfd_keeper_fill(&m, MFD_KEEPER_OFFER, c->args.v[1], c->args.v[2], id);

	if (!ret && fcntl(STDIN_FILENO, F_GETFD) < 0)
		ret = -EBADF;
	ret = ret ? ret : mfd_keeper_call(sock, &m, STDIN_FILENO, NULL);
	if (ret == -EEXIST) {
		fprintf(stderr,
			"criu-multifd cpr: session %s has an offer under this name; 'cpr drop' takes it back\n",
			c->args.v[1]);
		return MFD_EXIT_FAILED;
	}
	if (ret)
		return complain("offer", ret);
	say_if_unknown(c);
	return MFD_EXIT_OK;
}

static int drop(const struct cpr *c, int sock)
{
	uint64_t id = c->args.n > 2 ? split_id(c->args.v[2]) : 0;
	int ret = mfd_keeper_drop(sock, c->args.v[1], c->args.n > 2 ? c->args.v[2] : NULL, id,
				  MFD_KEEPER_KEPT | MFD_KEEPER_OFFERED);

	return ret ? complain(ret == -ENOENT ? "nothing of that name is held" : "drop", ret) :
		     MFD_EXIT_OK;
}

/* ---- exec ---- */

/* Ask the server, which passes it on to its keeper; ask the keeper if there is no server. */
static int do_exec(const struct cpr *c)
{
	struct mfd_keeper_msg m;
	struct mfd_error err = { 0 };
	int sock, ret = mfd_request_call(c->dir, "exec", EXEC_MS, NULL, 0, &err);

	if (!c->keeper && !ret)
		return MFD_EXIT_OK;
	if (!c->keeper && ret != -ECONNREFUSED && ret != -ENOENT) {
		fprintf(stderr, "criu-multifd cpr: %s\n", mfd_error_text(&err));
		return MFD_EXIT_FAILED;
	}
	sock = reach(c);
	if (sock < 0)
		return MFD_EXIT_FAILED;
	mfd_keeper_fill(&m, MFD_KEEPER_EXEC, NULL, NULL, 0);
	ret = mfd_keeper_call(sock, &m, -1, NULL);
	close(sock);
	return ret ? complain("exec", ret) : MFD_EXIT_OK;
}

static const struct action {
	const char *name;
	int min, max; /* words, with the action's own */
	int (*run)(const struct cpr *c, int sock);
} actions[] = {
	{ "list", 1, 2, list },
	{ "offer", 3, 3, offer },
	{ "drop", 2, 3, drop },
	{ "exec", 1, 1, NULL },
};

static int run(const struct mfd_flags *table, const struct cpr *c)
{
	for (size_t i = 0; i < sizeof(actions) / sizeof(*actions); i++) {
		const struct action *a = &actions[i];
		int sock, ret;

		if (strcmp(a->name, c->args.v[0]))
			continue;
		if (c->args.n < a->min || c->args.n > a->max)
			return mfd_flags_misuse(table, "'%s' is called with other arguments",
						a->name);
		if (c->args.n > 1 && !mfd_wire_name_ok(c->args.v[1], strlen(c->args.v[1])))
			return mfd_flags_misuse(table, "'%s' is not the name of a session",
						c->args.v[1]);
		if (!a->run)
			return do_exec(c);
		sock = reach(c);
		if (sock < 0)
			return MFD_EXIT_FAILED;
		ret = a->run(c, sock);
		close(sock);
		return ret;
	}
	return mfd_flags_misuse(table, "unknown '%s': expected list, offer, drop or exec",
				c->args.v[0]);
}

int mfd_cpr_main(int argc, char **argv)
{
	struct cpr c = { .dir = MFD_DEFAULT_DIR };
	const struct mfd_flag flags[] = {
		{ .name = "dir",
		  .kind = MFD_FLAG_STRING,
		  .dest = &c.dir,
		  .arg = "DIR",
		  .help = "the server's or keeper's folder (default " MFD_DEFAULT_DIR ")" },
		{ .name = "keeper",
		  .kind = MFD_FLAG_STRING,
		  .dest = &c.keeper,
		  .arg = "PATH",
		  .help = "the keeper's socket, if it is not DIR/" MFD_KEEPER_SOCKET },
		{ .name = "json", .kind = MFD_FLAG_BOOL, .dest = &c.json, .help = "list: as JSON" },
		{ 0 },
	};
	const struct mfd_flags table = {
		.verb = "cpr",
		.usage =
			"[--dir DIR] list [SESSION] [--json] | offer SESSION NAME[:ID] <FD | drop SESSION [NAME[:ID]] | exec",
		.summary =
			"Descriptors that come along: lists what the keeper holds, offers one to a restore, drops them,\n"
			"replaces the server's program in place.",
		.notes =
			"offer hands over descriptor 0; the restore of SESSION takes it for its descriptor NAME (as 'criu-multifd\n"
			"show cpr-fds.img' names it), for the one with that ID or, without one, for all of that name.\n"
			"Terminals are called tty[RDEV:DEV], as criu calls them; one that is offered under the name 'tty' serves each that has\n"
			"none of its own.  A process that leads a session makes it the terminal of that session, also if another session has it.\n"
			"exec goes on with the program that lies at the path of the running one now; nothing held is lost, and a\n"
			"program that does not run is not taken.\n"
			"Exit status: 0, or 1 with one line.",
		.flags = flags,
		.min_args = 1,
		.max_args = 3,
		.arg_names = "list, offer, drop or exec",
	};
	int ret = mfd_flags_begin(&table, argc, argv, &c.args);

	return ret >= 0 ? ret : run(&table, &c);
}
