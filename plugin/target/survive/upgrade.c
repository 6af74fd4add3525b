// SPDX-License-Identifier: GPL-2.0-only
/*
 * The supervisor goes on in a new program; process, children, listening socket, lock and everything
 * it holds stay.  The state is lines of text; numbers of descriptors stay what they are:
 *
 *	serve 1
 *	own LISTENER LOCK KEEPER_PID KEEPER_LINK
 *	address TEXT
 *	hold TASK UFFD BOOK PIDFD FORKED WRITER NUMBER SESSION	struct mfd_deposit
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io.h"
#include "log.h"
#include "reexec.h"
#include "supervisor.h"

int mfd_supervise_exec_check(struct mfd_error *err)
{
	struct mfd_reexec r;
	int ret = mfd_reexec_begin(&r, err);

	mfd_reexec_end(&r);
	return ret;
}

static int write_state(const struct supervisor *su, FILE *f, struct mfd_reexec *r)
{
	const int own[] = { su->sv->listen_fd, su->sv->lock_fd, su->keeper_link };
	const struct mfd_deposit *h;
	int ret = 0;

	fprintf(f, "serve 1\nown %d %d %d %d\naddress %s\n", su->sv->listen_fd, su->sv->lock_fd,
		su->keeper, su->keeper_link, su->address);
	for (size_t i = 0; i < sizeof(own) / sizeof(*own) && !ret; i++)
		ret = mfd_reexec_keep(r, own[i]);
	for (h = su->held; h && !ret; h = h->next) {
		fprintf(f, "hold %u %d %d %d %d %d %d %s\n", h->task, h->uffd, h->book, h->pidfd,
			h->forked, h->writer, h->number, h->session);
		ret = mfd_reexec_keep(r, h->uffd);
		ret = ret ? ret : mfd_reexec_keep(r, h->book);
		ret = ret ? ret : mfd_reexec_keep(r, h->pidfd);
	}
	return ret;
}

/*
 * The words of our own command line, and where the state is; not where that of an earlier time was.
 */
static char **make_words(char **own)
{
	size_t n, i, to = 4;
	char **words;

	for (n = 0; own[n]; n++)
		;
	words = calloc(n + 5, sizeof(*words));
	if (!words)
		return NULL;
	words[1] = (char *)"serve";
	words[2] = (char *)"--state-fd";
	words[3] = (char *)"@STATE";
	for (i = 1; i < n; i++) {
		if (!strcmp(own[i], "--state-fd") && i + 1 < n)
			i++;
		else
			words[to++] = own[i];
	}
	return words;
}

void mfd_supervise_exec(struct supervisor *su)
{
	char **words = make_words(su->sv->words), *text = NULL;
	struct mfd_error err = { 0 };
	struct mfd_reexec r;
	size_t len = 0;
	int ret = mfd_reexec_begin(&r, &err);
	FILE *f;

	if (!ret) {
		f = open_memstream(&text, &len);
		ret = f && words ? write_state(su, f, &r) : -ENOMEM;
		if (f && fclose(f) && !ret)
			ret = -ENOMEM;
		if (!ret)
			ret = mfd_reexec_exec(&r, words, text, len, &err);
	}
	mfd_log_error("the program was not replaced: %s",
		      err.code ? mfd_error_text(&err) : strerror(-ret));
	mfd_reexec_end(&r);
	free(words);
	free(text);
}

static int load_hold(struct supervisor *su, const char *line)
{
	struct mfd_deposit *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->id = ++su->last_id;
	h->next = su->held;
	su->held = h;
	/* The session of what nobody has claimed is empty. */
	if (sscanf(line, "hold %u %d %d %d %d %d %d %255[^\n]", &h->task, &h->uffd, &h->book,
		   &h->pidfd, &h->forked, &h->writer, &h->number, h->session) < 7)
		return -EPROTO;
	su->after = MFD_TAKEOVER_WORKER;
	if (h->book >= 0)
		mfd_reexec_adopt(h->book);
	if (h->pidfd >= 0)
		mfd_reexec_adopt(h->pidfd);
	return mfd_reexec_adopt(h->uffd);
}

static int load(struct supervisor *su, char *text)
{
	char *line, *save;
	static char address[72]; /* for the rest of our life */
	struct mfd_supervise *sv = su->sv;
	int ret = 0;

	for (line = strtok_r(text, "\n", &save); line && !ret; line = strtok_r(NULL, "\n", &save)) {
		if (sscanf(line, "own %d %d %d %d", &sv->listen_fd, &sv->lock_fd, &su->keeper,
			   &su->keeper_link) == 4)
			ret = mfd_reexec_adopt(sv->listen_fd) || mfd_reexec_adopt(sv->lock_fd) ?
				      -EBADF :
				      0;
		else if (!strncmp(line, "hold ", 5))
			ret = load_hold(su, line);
		else if (sscanf(line, "address %71s", address) != 1 && strcmp(line, "serve 1"))
			ret = -EPROTO;
	}
	su->address = address;
	if (su->keeper_link >= 0)
		mfd_reexec_adopt(su->keeper_link);
	return ret || !*address ? -EPROTO : 0;
}

int mfd_supervise_resume(struct mfd_supervise *sv, int state)
{
	struct supervisor su = {
		.sv = sv, .link = -1, .keeper_link = -1, .standby = { .link = -1, .orphans = -1 }
	};
	struct mfd_error err = { 0 };
	char *text;
	int ret = mfd_reexec_state(state, &text, &err);

	if (!ret) {
		ret = load(&su, text);
		if (ret)
			mfd_error_sys(&err, ret, "state from the program before");
		free(text);
	}
	if (ret) {
		mfd_log_error("%s", mfd_error_text(&err));
		return 1;
	}
	mfd_log_info("new program (%s)", MFD_VERSION);
	return mfd_supervise_loop(&su);
}
