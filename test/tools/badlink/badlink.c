// SPDX-License-Identifier: GPL-2.0-only
/*
 * badlink: a TCP proxy between a sender and a restore server that breaks on purpose, at a place
 * named in our protocol.
 *
 * Theory of operation
 *
 * Each connection is a pair of pipes.  A pipe knows from the greeting what it carries and cuts its
 * stream into elements (a greeting, a control message, a packet, ...) by their headers, which are
 * looked at and not verified: what is broken here must be found by the receiver.  Every
 * element is an event; the one fault of a run waits for its event, fires once and says so on
 * standard error with the time (CLOCK_REALTIME), so that a test can tell a fault that was survived
 * from one that never happened.
 *
 * "before" means that no byte of the element has been forwarded, "after" that the receiver's kernel
 * has acknowledged all of it.  A cut resets every connection and refuses new ones; a stall keeps
 * all of them open, also those that come, and forwards nothing, not even an end of file.
 *
 * Signals: SIGUSR1 heals (connections come through again, without a fault), SIGUSR2 lets the fault
 * happen now, or cuts a stalled link.
 *
 * Limits: --delay is per burst and not per byte, and one buffer (256 KiB) per delay is all that
 * fits through. --bandwidth and the byte counts are about data channels, from source to target, all
 * together.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "element.h"
#include "tap.h"
#include "wire.h"

#define BUFFER (256U << 10)
/* little in flight, so that --bandwidth is felt and a count is where it seems */
#define SOCKBUF	  (128 << 10)
#define EVENT_LEN ELEMENT_NAME
#define FOREVER	  SIZE_MAX

enum action { NOTHING, CUT, STALL, DROP, FLIP, GARBAGE };
static const char *const action_names[] = { "nothing", "cut", "stall", "drop", "flip", "garbage" };

struct link;

struct pipe {
	uint8_t buf[BUFFER];
	size_t off, len;    /* buf[off .. off + len) waits to be forwarded */
	size_t left;	    /* of the current element; 0 = at a border */
	size_t head;	    /* of the current element, still to come: not payload */
	bool drop, swallow; /* the element is not forwarded; nothing is any more */
	bool counted;	    /* data, source to target */
	bool begun;	    /* the greeting or its answer has passed */
	bool eof, shut;	    /* read; passed on */
	bool due;	    /* TLS: the fault happens when this record has passed */
	uint64_t ready_us;  /* --delay */
	char event[EVENT_LEN];
};

struct end {
	struct link *link;
	int fd;
	uint32_t events; /* registered */
	bool broken;
};

struct link {
	struct end end[2];   /* 0 = source, 1 = target */
	struct pipe pipe[2]; /* 0 = from source to target */
	uint8_t role;	     /* 0 = not known yet */
	bool tls;	     /* elements are records, and events what tap.h finds in them */
	struct tap tap;
	struct link *next;
};

static struct {
	struct sockaddr_in listen, to;
	enum action action;
	bool after;
	char event[EVENT_LEN]; /* empty: `bytes` or a signal */
	uint64_t bytes;	       /* cut or stall after so many; 0 = none */
	uint64_t flip_byte;    /* counted from 1; 0 = none */
	uint64_t version;      /* in every greeting; ~0 = as it is */
	uint64_t skip, heal_ms, delay_ms, bandwidth, slow;
} cfg = { .version = ~0ULL };

static int epoll_fd, listen_fd = -1, signal_fd;
static struct link *links;
static bool fired, stalled, cut, throttled;
static uint64_t heal_at, data_bytes, payload_bytes, tokens;

static uint64_t now_us(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void die(const char *what)
{
	fprintf(stderr, "badlink: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void say(const char *what, const char *where, const char *event)
{
	uint64_t t = now_us(CLOCK_REALTIME);

	fprintf(stderr, "badlink: %s %s%s at %llu.%06llu\n", what, where, event,
		(unsigned long long)(t / 1000000), (unsigned long long)(t % 1000000));
}

/* ---- listening ---- */

static void watch(int fd, void *ptr, uint32_t events, int op)
{
	struct epoll_event ev = { .events = events, .data.ptr = ptr };

	if (epoll_ctl(epoll_fd, op, fd, &ev))
		die("epoll_ctl");
}

static void open_listener(void)
{
	socklen_t len = sizeof(cfg.listen);
	int one = 1, room = SOCKBUF;

	listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(listen_fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	if (bind(listen_fd, (struct sockaddr *)&cfg.listen, len) || listen(listen_fd, 256) ||
	    getsockname(listen_fd, (struct sockaddr *)&cfg.listen, &len))
		die("listen");
	watch(listen_fd, &listen_fd, EPOLLIN, EPOLL_CTL_ADD);
}

static void close_listener(void)
{
	if (listen_fd >= 0)
		close(listen_fd);
	listen_fd = -1;
}

/* ---- links ---- */

static void close_link(struct link *l, bool reset)
{
	struct linger now = { .l_onoff = 1 };
	struct link **p;

	for (p = &links; *p != l; p = &(*p)->next)
		;
	*p = l->next;
	for (int i = 0; i < 2; i++) {
		if (reset)
			setsockopt(l->end[i].fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		close(l->end[i].fd);
	}
	tap_close(&l->tap);
	free(l);
}

static int connect_target(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, room = SOCKBUF;

	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (!connect(fd, (struct sockaddr *)&cfg.to, sizeof(cfg.to)))
		return fd;
	fprintf(stderr, "badlink: target: %s\n", strerror(errno));
	close(fd);
	return -1;
}

static void accept_link(void)
{
	struct linger now = { .l_onoff = 1 };
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC), to, one = 1;
	struct link *l;

	if (fd < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	to = connect_target();
	l = to < 0 ? NULL : calloc(1, sizeof(*l));
	if (!l) {
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		close(fd);
		return;
	}
	l->end[0] = (struct end){ .link = l, .fd = fd };
	l->end[1] = (struct end){ .link = l, .fd = to };
	l->next = links;
	links = l;
	for (int i = 0; i < 2; i++)
		watch(l->end[i].fd, &l->end[i], 0, EPOLL_CTL_ADD);
}

/* ---- the fault ---- */

/* Until the receiver's kernel has everything: "after" would not be after otherwise. */
static void delivered(int fd)
{
	int left = 0;

	for (int i = 0; i < 20000 && !ioctl(fd, SIOCOUTQ, &left) && left; i++)
		usleep(50);
}

static void heal(void)
{
	say("healed", "", "");
	stalled = false;
	cut = false;
	heal_at = 0;
	cfg.bandwidth = cfg.slow ? 0 : cfg.bandwidth;
	fired = true;
	if (listen_fd < 0)
		open_listener();
	else
		watch(listen_fd, &listen_fd, EPOLLIN, EPOLL_CTL_MOD);
	for (struct link *l = links, *next; l; l = next) {
		next = l->next;
		if (l->end[0].broken || l->end[1].broken)
			close_link(l, true);
	}
}

/* A link may be in use by the caller: links are closed at the end of the turn (see finish_cut). */
static void fire(enum action action)
{
	fired = true;
	stalled = action == STALL;
	cut = action == CUT;
	if (stalled)
		watch(listen_fd, &listen_fd, 0, EPOLL_CTL_MOD);
	if (cut)
		close_listener();
	if (cfg.heal_ms)
		heal_at = now_us(CLOCK_MONOTONIC) + cfg.heal_ms * 1000;
}

static void finish_cut(void)
{
	while (cut && links)
		close_link(links, true);
}

static bool is_due_event(const char *event, bool after)
{
	if (fired || !*cfg.event || after != cfg.after || strcasecmp(cfg.event, event))
		return false;
	return !cfg.skip || !cfg.skip--;
}

static bool is_due(const struct pipe *p, bool after)
{
	return is_due_event(p->event, after);
}

static void fire_before(struct pipe *p, int out)
{
	uint8_t noise[4096];

	say(action_names[cfg.action], "before ", p->event);
	fired = true;
	switch (cfg.action) {
	case DROP:
		p->drop = true;
		break;
	case FLIP: /* the last byte of its header: a secret, a length, a hash */
		p->buf[p->off + p->head - 1] ^= 1;
		break;
	case GARBAGE:
		p->swallow = true;
		for (size_t i = 0; i < sizeof(noise); i++)
			noise[i] = (uint8_t)random();
		if (send(out, noise, sizeof(noise), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			errno = 0;
		break;
	default:
		fire(cfg.action);
	}
}

/* ---- elements ---- */

/* At a border with `head` bytes there: what comes, how long, and is it what the fault waits for? */
static void open_element(struct link *l, struct pipe *p, size_t head, int out)
{
	uint8_t *h = p->buf + p->off;

	bool forth = p == &l->pipe[0], greeting = forth && !p->begun && head;
	struct element e = { .total = FOREVER };

	p->drop = false;
	if (head)
		element_open(&e, h, &l->role, forth, p->begun);
	p->head = e.head;
	p->left = e.total;
	if (head)
		memcpy(p->event, e.name, sizeof(p->event));
	p->begun = true;
	if (greeting) {
		p->counted = l->role == MFD_WIRE_ROLE_DATA;
		if (cfg.version != ~0ULL)
			((struct mfd_wire_greeting *)h)->version = htole16((uint16_t)cfg.version);
	}
	if (is_due(p, false)) {
		p->head = head;
		fire_before(p, out);
		p->head = e.head;
	}
}

/* A record, all of which is there. */
static void open_record(struct link *l, struct pipe *p, int out)
{
	uint8_t *record = p->buf + p->off;
	struct tap_found found;
	bool due = false;

	tap_record(&l->tap, p != &l->pipe[0], record, &found);
	p->drop = p->due = false;
	p->left = p->head = tap_record_len(record);
	p->counted = p == &l->pipe[0] && l->tap.role == MFD_WIRE_ROLE_DATA;
	for (size_t i = 0; i < found.n_begins; i++) {
		snprintf(p->event, sizeof(p->event), "%s", found.begins[i]);
		due = due || is_due_event(found.begins[i], false);
	}
	for (size_t i = 0; i < found.n_ends; i++)
		p->due = p->due || is_due_event(found.ends[i], true);
	if (due) {
		snprintf(p->event, sizeof(p->event), "%s", cfg.event);
		fire_before(p, out);
	}
	p->head = TAP_HEAD;
}

/* What is next in the pipe is opened; false: too little of it is there. */
static bool open_next(struct link *l, struct pipe *p, int out)
{
	bool whole = true;
	size_t head;

	if (!p->begun && p == &l->pipe[0] && tap_is_tls(p->buf[p->off]))
		l->tls = true;
	p->begun = p->begun || l->tls;
	if (l->tls) {
		if (p->len < TAP_HEAD || p->len < tap_record_len(p->buf + p->off))
			whole = false;
		if (!whole && !p->eof)
			return false;
		if (whole)
			open_record(l, p, out);
		else
			p->left = p->head = p->len;
		return true;
	}
	head = element_head(l->role, p == &l->pipe[0], p->begun);
	if (p->len < head && !p->eof)
		return false;
	open_element(l, p, p->len < head ? 0 : head, out);
	return true;
}

/* ---- forwarding ---- */

/* --bandwidth: a bucket of tokens, one per byte. */
static void refill(void)
{
	static uint64_t last_us;
	uint64_t now = now_us(CLOCK_MONOTONIC), more = (now - last_us) * cfg.bandwidth / 1000000;

	if (!last_us || tokens + more > SOCKBUF)
		more = SOCKBUF - tokens;
	else if (!more)
		return;
	last_us = now;
	tokens += more;
}

static size_t allowed(const struct pipe *p, size_t n)
{
	if (!p->counted)
		return n;
	if (cfg.bytes && !fired && n > cfg.bytes - data_bytes)
		n = cfg.bytes - data_bytes;
	if (!cfg.bandwidth)
		return n;
	refill();
	if (n > tokens) {
		throttled = true;
		n = tokens;
	}
	return n;
}

/*
 * Bytes of the element that pass now; the one byte that --flip-byte is about is changed in the
 * buffer, once.
 */
static void look_at(struct pipe *p, size_t n)
{
	size_t head = n < p->head ? n : p->head, payload = n - head;

	if (p->counted && !strcmp(p->event, "pages") && payload && cfg.flip_byte > payload_bytes &&
	    cfg.flip_byte <= payload_bytes + payload) {
		p->buf[p->off + head + (cfg.flip_byte - payload_bytes - 1)] ^= 0x10;
		cfg.flip_byte = 0;
		say("flip", "in ", p->event);
	}
}

static void passed(const struct link *l, struct pipe *p, size_t n, int out)
{
	size_t head = n < p->head ? n : p->head;

	if (p->counted) {
		data_bytes += n;
		tokens -= cfg.bandwidth ? n : 0;
		payload_bytes += strcmp(p->event, "pages") ? 0 : n - head;
	}
	p->head -= head;
	p->off += n;
	p->len -= n;
	if (!p->len)
		p->off = 0;
	if (p->left != FOREVER)
		p->left -= n;
	if (p->counted && cfg.bytes && data_bytes == cfg.bytes && !fired) {
		delivered(out);
		say(action_names[cfg.action], "after bytes of ", p->event);
		fire(cfg.action);
	} else if (!p->left && (l->tls ? p->due : is_due(p, true))) {
		delivered(out);
		say(action_names[cfg.action], "after ", cfg.event);
		fire(cfg.action);
	}
}

/* 0, or -1: the receiver is gone. */
static int forward(struct link *l, struct pipe *p, int out)
{
	while (p->len && !stalled && !cut) {
		ssize_t n;

		if (!p->left) {
			if (!open_next(l, p, out))
				return 0;
			continue;
		}
		n = (ssize_t)allowed(p, p->len < p->left ? p->len : p->left);
		if (!n)
			return 0;
		if (!p->drop && !p->swallow) {
			look_at(p, (size_t)n);
			n = send(out, p->buf + p->off, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
		}
		if (n < 0)
			return errno == EAGAIN ? 0 : -1;
		passed(l, p, (size_t)n, out);
	}
	return 0;
}

static int fill(struct pipe *p, int in)
{
	ssize_t n;

	if (p->off + p->len == BUFFER) {
		memmove(p->buf, p->buf + p->off, p->len);
		p->off = 0;
	}
	n = recv(in, p->buf + p->off + p->len, BUFFER - p->off - p->len, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN ? 0 : -1;
	if (!n)
		p->eof = true;
	if (!p->len)
		p->ready_us = now_us(CLOCK_MONOTONIC) + cfg.delay_ms * 1000;
	p->len += (size_t)n;
	return 0;
}

/* Forward what there is, pass on an end of file.  -1: the link is over. */
static int serve_pipe(struct link *l, int dir)
{
	struct pipe *p = &l->pipe[dir];
	int out = l->end[!dir].fd;

	if (cfg.delay_ms && p->len && now_us(CLOCK_MONOTONIC) < p->ready_us)
		return 0;
	if (p->len && forward(l, p, out))
		return -1;
	if (p->eof && !p->len && !p->shut && !stalled) {
		shutdown(out, SHUT_WR);
		p->shut = true;
	}
	return 0;
}

static void update(struct link *l)
{
	for (int i = 0; i < 2; i++) {
		struct end *e = &l->end[i];
		struct pipe *from = &l->pipe[i], *to = &l->pipe[!i];
		uint32_t want = 0;

		if (e->broken)
			continue;
		if (!from->eof && from->len < BUFFER)
			want |= EPOLLIN;
		/*
		 * Throttled or delayed bytes wait for the clock, an incomplete header for more of
		 * it.
		 */
		if (to->len && to->left && !stalled && !throttled && !cfg.delay_ms)
			want |= EPOLLOUT;
		if (want != e->events)
			watch(e->fd, e, want, EPOLL_CTL_MOD);
		e->events = want;
	}
}

static void break_link(struct link *l, struct end *e)
{
	if (!stalled) {
		close_link(l, true);
		return;
	}
	/* The other side must not learn of it before the link is healed. */
	e->broken = true;
	epoll_ctl(epoll_fd, EPOLL_CTL_DEL, e->fd, NULL);
}

static void on_event(struct end *e, uint32_t events)
{
	struct link *l = e->link;
	int dir = e != &l->end[0];

	if (events & EPOLLIN ? fill(&l->pipe[dir], e->fd) : events & (EPOLLERR | EPOLLHUP) ? -1 : 0)
		break_link(l, e);
}

/*
 * Whatever can move moves; all links, since a fault, the clock or a bandwidth concerns all of them.
 */
static void turn(void)
{
	throttled = false;
	for (struct link *l = links, *next; l; l = next) {
		next = l->next;
		if (serve_pipe(l, 0) || serve_pipe(l, 1) || (l->pipe[0].shut && l->pipe[1].shut))
			close_link(l, false);
	}
	finish_cut();
	for (struct link *l = links; l; l = l->next)
		update(l);
}

static void on_signal(void)
{
	struct signalfd_siginfo si;

	if (read(signal_fd, &si, sizeof(si)) != sizeof(si))
		return;
	if (si.ssi_signo == SIGUSR1) {
		heal();
	} else if (!cut) {
		enum action a = cfg.action == STALL && !stalled ? STALL : CUT;

		say(action_names[a], "by signal", "");
		fire(a);
	}
}

static int timeout_ms(void)
{
	if (throttled || cfg.delay_ms)
		return 1;
	return heal_at ? 5 : -1;
}

static void run(void)
{
	struct epoll_event ev;

	for (;;) {
		/* One at a time: handling an event may free the link of another one. */
		int n = epoll_wait(epoll_fd, &ev, 1, timeout_ms());

		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		if (n > 0 && ev.data.ptr == &signal_fd)
			on_signal();
		else if (n > 0 && ev.data.ptr == &listen_fd)
			accept_link();
		else if (n > 0)
			on_event(ev.data.ptr, ev.events);
		if (heal_at && now_us(CLOCK_MONOTONIC) >= heal_at)
			heal();
		turn();
	}
}

/* ---- command line ---- */

/* A fault's value is an event (and the fault before or after it) or a count of bytes. */
static const struct word {
	const char *name;
	enum { BEFORE, AFTER, BYTES, NUMBER, ADDRESS } kind;
	enum action action;
	void *dest; /* uint64_t or struct sockaddr_in */
	const char *help;
} words[] = {
	{ "--listen", ADDRESS, 0, &cfg.listen, "ADDR:PORT (127.0.0.1:0)" },
	{ "--to", ADDRESS, 0, &cfg.to, "ADDR:PORT of the restore server" },
	{ "--cut-before", BEFORE, CUT, NULL, "EVENT: reset everything, refuse what comes" },
	{ "--cut-after", AFTER, CUT, NULL, "EVENT" },
	{ "--cut-after-bytes", BYTES, CUT, &cfg.bytes, "N" },
	{ "--stall-before", BEFORE, STALL, NULL, "EVENT: keep everything open, forward nothing" },
	{ "--stall-after", AFTER, STALL, NULL, "EVENT" },
	{ "--stall-after-bytes", BYTES, STALL, &cfg.bytes, "N" },
	{ "--drop", BEFORE, DROP, NULL, "EVENT: leave it out" },
	{ "--flip", BEFORE, FLIP, NULL, "EVENT: flip a bit of its header" },
	{ "--garbage", BEFORE, GARBAGE, NULL,
	  "EVENT: random bytes in its place, then nothing on that connection" },
	{ "--flip-byte", NUMBER, 0, &cfg.flip_byte, "N: flip a bit of the Nth byte of page data" },
	{ "--version", NUMBER, 0, &cfg.version, "N in every greeting" },
	{ "--skip", NUMBER, 0, &cfg.skip, "N: let the event pass N times before" },
	{ "--heal-after", NUMBER, 0, &cfg.heal_ms,
	  "MS: let connections through again, without a fault" },
	{ "--delay", NUMBER, 0, &cfg.delay_ms, "MS" },
	{ "--bandwidth", NUMBER, 0, &cfg.bandwidth, "BYTES per second" },
	{ "--slow", NUMBER, 0, &cfg.slow, "BYTES per second, until healed" },
};
#define NWORDS (sizeof(words) / sizeof(*words))

/* Those that are no control message. */
static const char *const other_events[] = { "greeting", "join", "join_ok", "join_urgent",
					    "pages",	"file", "sync",	   "urgent" };

static void usage(void)
{
	fputs("usage: badlink --to ADDR:PORT [OPTION VALUE]...\n", stderr);
	for (size_t i = 0; i < NWORDS; i++)
		fprintf(stderr, "  %-20s %s\n", words[i].name, words[i].help);
	fputs("EVENT: a control message (hello, hello_ok, joined, images, ... committed, abort, ping), or",
	      stderr);
	for (size_t i = 0; i < sizeof(other_events) / sizeof(*other_events); i++)
		fprintf(stderr, " %s", other_events[i]);
	fputc('\n', stderr);
	exit(2);
}

static void parse_address(const char *text, struct sockaddr_in *a)
{
	const char *colon = strrchr(text, ':');
	char host[64] = "";

	a->sin_family = AF_INET;
	if (colon && (size_t)(colon - text) < sizeof(host))
		memcpy(host, text, (size_t)(colon - text));
	if (!colon || inet_pton(AF_INET, host, &a->sin_addr) != 1)
		usage();
	a->sin_port = htons((uint16_t)atoi(colon + 1));
}

static void parse_event(const char *text)
{
	int known = 0;

	for (unsigned t = MFD_WIRE_HELLO; t <= MFD_WIRE_MSG_MAX; t++)
		known |= !strcasecmp(text, mfd_wire_msg_name(t));
	for (size_t i = 0; i < sizeof(other_events) / sizeof(*other_events); i++)
		known |= !strcasecmp(text, other_events[i]);
	if (!known)
		usage();
	snprintf(cfg.event, sizeof(cfg.event), "%s", text);
}

static void parse(const char *name_of, const char *value)
{
	const struct word *w = words;

	while (w < words + NWORDS && strcmp(w->name, name_of))
		w++;
	if (w == words + NWORDS || !value)
		usage();
	if (w->action)
		cfg.action = w->action;
	if (w->kind == BEFORE || w->kind == AFTER)
		parse_event(value);
	else if (w->kind == ADDRESS)
		parse_address(value, w->dest);
	else
		*(uint64_t *)w->dest = strtoull(value, NULL, 10);
	cfg.after |= w->kind == AFTER;
}

int main(int argc, char **argv)
{
	char text[INET_ADDRSTRLEN];
	sigset_t set;

	parse_address("127.0.0.1:0", &cfg.listen);
	for (int i = 1; i < argc; i += 2)
		parse(argv[i], argv[i + 1]);
	if (!cfg.to.sin_port)
		usage();
	if (cfg.slow)
		cfg.bandwidth = cfg.slow;
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	watch(signal_fd, &signal_fd, EPOLLIN, EPOLL_CTL_ADD);
	open_listener();
	inet_ntop(AF_INET, &cfg.listen.sin_addr, text, sizeof(text));
	fprintf(stderr, "listening on %s:%u\n", text, ntohs(cfg.listen.sin_port));
	run();
}
