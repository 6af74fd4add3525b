// SPDX-License-Identifier: GPL-2.0-only
/* The loop of each process: it notices gaps, and does what a test asks for. */
#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "victim.h"

#define ANSWER_TIMEOUT_S 600

volatile sig_atomic_t want_verify, want_actions, want_exit;
static uint64_t my_gen, ticks;

static void answer(enum command command, const char *actions, uint64_t gen)
{
	struct slot *slot = &control->slot[rank];
	struct result res = command == CMD_ACTIONS ? actions_run(actions) : verify_all();
	int i, status;

	for (i = 0; i < nr_children; i++) {
		if (children[i] && waitpid(children[i], &status, WNOHANG) == children[i]) {
			say("verify BAD mapping=process page=0 offset=0 pid=%d rank=%d child died, status %#x",
			    children[i], rank, status);
			children[i] = 0;
			res.bad++;
		}
	}
	slot->pages = res.pages;
	slot->bad = res.bad ? 1 : 0;
	__atomic_store_n(&slot->done, gen, __ATOMIC_RELEASE); /* pairs with collect() */
}

/* Rank 0: wait for what all the others answer. */
static void collect(enum command command, uint64_t gen, uint64_t start)
{
	uint64_t end = now_us(CLOCK_MONOTONIC) + ANSWER_TIMEOUT_S * 1000000ULL, pages = 0;
	int i, bad = 0;

	for (i = 0; i < procs; i++) {
		struct slot *slot = &control->slot[i];
		bool dead = false;

		/* pairs with answer() */
		while (__atomic_load_n(&slot->done, __ATOMIC_ACQUIRE) != gen) {
			dead = (kill(slot->pid, 0) && errno == ESRCH) ||
			       now_us(CLOCK_MONOTONIC) > end;
			if (dead)
				break;
			nap(500);
		}
		if (dead)
			say("verify BAD mapping=process page=0 offset=0 pid=%d rank=%d does not answer",
			    slot->pid, i);
		bad += dead || slot->bad;
		pages += dead ? 0 : slot->pages;
	}
	say("%s all %s procs=%d pages=%lu us=%lu", command == CMD_ACTIONS ? "actions" : "verified",
	    bad ? "BAD" : "OK", procs, pages, now_us(CLOCK_MONOTONIC) - start);
}

static void root_command(enum command command, const char *actions)
{
	uint64_t start = now_us(CLOCK_MONOTONIC);

	control->command = command;
	snprintf(control->actions, sizeof(control->actions), "%s", actions);
	my_gen++;
	__atomic_store_n(&control->gen, my_gen, __ATOMIC_RELEASE); /* pairs with poll_control() */
	answer(command, actions, my_gen);
	collect(command, my_gen, start);
}

static bool command_file(const char *name, char *text, size_t size)
{
	ssize_t n = 0;
	int fd;

	if (access(name, F_OK))
		return false;
	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, text, size - 1);
		close(fd);
	}
	text[n > 0 ? n : 0] = 0;
	unlink(name);
	return true;
}

/* True when something was done that took time on purpose. */
static bool poll_root(void)
{
	char text[128];

	if (command_file("cmd-exit", text, sizeof(text))) {
		say("exit command");
		_exit(0);
	}
	if (command_file("cmd-ping", text, sizeof(text)))
		say("pong %lu", ticks);
	if (want_actions || command_file("cmd-actions", text, sizeof(text))) {
		const char *list = want_actions || !text[strspn(text, " \n")] ? opt.actions : text;

		want_actions = 0;
		root_command(CMD_ACTIONS, list);
		return true;
	}
	if (want_verify || command_file("cmd-verify", text, sizeof(text))) {
		want_verify = 0;
		root_command(CMD_VERIFY, "");
		return true;
	}
	return false;
}

static bool poll_control(void)
{
	/* pairs with root_command() */
	uint64_t gen = __atomic_load_n(&control->gen, __ATOMIC_ACQUIRE);

	if (gen == my_gen)
		return false;
	my_gen = gen;
	answer(control->command, control->actions, gen);
	return true;
}

void command_run(void)
{
	uint64_t last = now_us(CLOCK_REALTIME), last_mono = now_us(CLOCK_MONOTONIC);

	for (;;) {
		uint64_t t, mono;

		nap(opt.tick_us);
		t = now_us(CLOCK_REALTIME);
		mono = now_us(CLOCK_MONOTONIC);
		if (t > last + (unsigned long)(opt.gap_us + opt.tick_us))
			say("gap %lu %lu %lu rank=%d mono=%ld", last, t, t - last, rank,
			    (long)(mono - last_mono));
		ticks++;
		if (want_exit) {
			say("exit signal %d pid=%d rank=%d", want_exit, getpid(), rank);
			_exit(0);
		}
		if (rank ? poll_control() : poll_root()) {
			t = now_us(CLOCK_REALTIME);
			mono = now_us(CLOCK_MONOTONIC);
		}
		last = t;
		last_mono = mono;
	}
}
