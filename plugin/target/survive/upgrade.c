// SPDX-License-Identifier: GPL-2.0-only
/*
 * The supervisor goes on in a new program; process, children, listening socket, lock and deposits
 * stay.  The state is lines of text; numbers of descriptors stay what they are:
 *
 *	serve 1
 *	own LISTENER LOCK KEEPER_PID KEEPER_LINK
 *	address TEXT
 *	hold TASK UFFD BOOK PIDFD FORKED WRITER NUMBER LABEL	a deposit
 *
 * A program reads what earlier ones wrote: no line changes its meaning or goes.
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

static int write_state(const struct mfd_supervisor *su, FILE *f, struct mfd_reexec *r)
{
	const int own[] = { su->sv->listen_fd, su->sv->lock_fd, su->keeper_link };
	const struct mfd_deposit *h;
	int ret = 0;

	fprintf(f, "serve 1\nown %d %d %d %d\naddress %s\n", su->sv->listen_fd, su->sv->lock_fd,
		su->keeper, su->keeper_link, su->address);
	for (size_t i = 0; i < sizeof(own) / sizeof(*own) && !ret; i++)
		ret = mfd_reexec_keep(r, own[i]);
	for (h = su->deposits.all; h && !ret; h = h->next) {
		fprintf(f, "hold %u %d %d %d %d %d %d %s\n", h->task, h->uffd, h->book, h->pidfd,
			h->forked, h->writer, h->number, mfd_deposit_label(h));
		ret = mfd_reexec_keep(r, h->uffd);
		ret = ret ? ret : mfd_reexec_keep(r, h->book);
		ret = ret ? ret : mfd_reexec_keep(r, h->pidfd);
	}
	return ret;
}

/* The words of our own command line, with the place of this state instead of an earlier one's. */
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

void mfd_upgrade_exec(struct mfd_supervisor *su)
{
	char **words = make_words(su->sv->words), *text = NULL;
	struct mfd_error err = { 0 };
	struct mfd_reexec r;
	size_t len = 0;
	int ret = mfd_reexec_begin(&r, NULL, &err);
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

/* The last word is the owner's label, which is empty for what is UNCLAIMED. */
static int load_deposit(struct mfd_supervisor *su, const char *line)
{
	struct mfd_deposit *d = mfd_deposits_new(&su->deposits);
	char label[sizeof(d->session)] = "";

	if (!d)
		return -ENOMEM;
	if (sscanf(line, "hold %u %d %d %d %d %d %d %255[^\n]", &d->task, &d->uffd, &d->book,
		   &d->pidfd, &d->forked, &d->writer, &d->number, label) < 7)
		return -EPROTO;
	mfd_deposit_set_label(d, label);
	su->after = MFD_TAKEOVER_WORKER;
	if (d->book >= 0)
		mfd_reexec_adopt(d->book);
	if (d->pidfd >= 0)
		mfd_reexec_adopt(d->pidfd);
	return mfd_reexec_adopt(d->uffd);
}

static int load_own(struct mfd_supervisor *su, const char *line)
{
	struct mfd_supervise *sv = su->sv;

	if (sscanf(line, "own %d %d %d %d", &sv->listen_fd, &sv->lock_fd, &su->keeper,
		   &su->keeper_link) != 4)
		return -EPROTO;
	if (su->keeper_link >= 0)
		mfd_reexec_adopt(su->keeper_link);
	return mfd_reexec_adopt(sv->listen_fd) || mfd_reexec_adopt(sv->lock_fd) ? -EBADF : 0;
}

static int load_address(struct mfd_supervisor *su, const char *line)
{
	static char address[72]; /* for the rest of our life */

	su->address = address;
	return sscanf(line, "address %71s", address) == 1 ? 0 : -EPROTO;
}

static int load_version(struct mfd_supervisor *su, const char *line)
{
	(void)su;
	return strcmp(line, "serve 1") ? -EPROTO : 0;
}

/* By the first word of a line. */
static const struct {
	const char *word;
	int (*load)(struct mfd_supervisor *su, const char *line);
} lines[] = {
	{ "serve ", load_version },
	{ "own ", load_own },
	{ "address ", load_address },
	{ "hold ", load_deposit },
};

static int load_line(struct mfd_supervisor *su, const char *line)
{
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
		if (!strncmp(line, lines[i].word, strlen(lines[i].word)))
			return lines[i].load(su, line);
	return -EPROTO;
}

int mfd_upgrade_load(struct mfd_supervisor *su, int state, struct mfd_error *err)
{
	char *text, *line, *save;
	int ret = mfd_reexec_state(state, &text, err);

	if (ret)
		return ret;
	for (line = strtok_r(text, "\n", &save); line && !ret; line = strtok_r(NULL, "\n", &save))
		ret = load_line(su, line);
	free(text);
	if (!ret && (!su->address || su->sv->listen_fd < 0))
		ret = -EPROTO;
	return ret ? mfd_error_sys(err, ret, "state from the program before") : 0;
}
