// SPDX-License-Identifier: GPL-2.0-only
/*
 * client: uses a server over one TCP connection while that server moves, and finds every lost
 * write.
 *
 *	client redis|memcached|http HOST PORT [--fill MIB] [--interval US] [--log FILE]
 *
 * First --fill MIB of incompressible values are stored. "ready" on standard output says that they
 * are. From then on, until SIGTERM: one request after the other, each with its answer awaited. A
 * write that was acknowledged is remembered, and what is read must be what was last acknowledged; a
 * counter must answer with exactly one more each time. At the end everything ever written is read
 * back. http reads one file again and again, which must never change.
 *
 * --log: a line "START_US TOOK_US" for each request (CLOCK_REALTIME), which is what the pause is
 * drawn from. The last line on standard output is
 *
 *	ok requests=N writes=N kept=N longest_ms=X at_us=T median_us=N
 *
 * or "FAILED ..." with a status of 1. The connection is never made anew: one that breaks is a
 * failure.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define KEYS	  4096 /* that are written again and again */
#define FILL_SIZE 4096 /* of one value of the fill, bytes */
#define BATCH	  64   /* fill requests on their way at once */
#define ANSWER_S  60   /* until an answer is given up */
#define BODY_MAX  (1 << 20)
#define BUCKETS	  20000 /* of the histogram, 10 us each */

static struct {
	int fd;
	size_t have, at;
	char buf[1 << 16];
} conn;

static volatile sig_atomic_t stop;
static uint64_t last[KEYS]; /* the value last acknowledged; 0 = never written */
static uint64_t requests, writes, counter, longest_us, longest_at, histogram[BUCKETS];
static FILE *log_file;

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

__attribute__((noreturn, format(printf, 1, 2))) static void failed(const char *fmt, ...)
{
	va_list ap;

	printf("FAILED ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf(" (after %llu requests)\n", (unsigned long long)requests);
	exit(1);
}

/* ---- the connection ---- */

static void put(const void *data, size_t len)
{
	while (len) {
		ssize_t n = send(conn.fd, data, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			failed("send: %s", strerror(errno));
		data = (const char *)data + n;
		len -= (size_t)n;
	}
}

__attribute__((format(printf, 1, 2))) static void putf(const char *fmt, ...)
{
	char text[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	put(text, (size_t)n);
}

static char get_byte(void)
{
	ssize_t n;

	if (conn.at < conn.have)
		return conn.buf[conn.at++];
	do {
		n = recv(conn.fd, conn.buf, sizeof(conn.buf), 0);
	} while (n < 0 && errno == EINTR);
	if (n == 0)
		failed("the server closed the connection");
	if (n < 0)
		failed("recv: %s", errno == EAGAIN ? "no answer" : strerror(errno));
	conn.have = (size_t)n;
	conn.at = 1;
	return conn.buf[0];
}

/* One line without its CR LF. */
static void get_line(char *line, size_t size)
{
	size_t n = 0;
	char c;

	while ((c = get_byte()) != '\n')
		if (n < size - 1)
			line[n++] = c;
	if (n && line[n - 1] == '\r')
		n--;
	line[n] = 0;
}

static void get_bytes(char *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		data[i] = get_byte();
}

static void expect(const char *want)
{
	char line[256];

	get_line(line, sizeof(line));
	if (strcmp(line, want))
		failed("answer '%s' instead of '%s'", line, want);
}

static void connect_to(const char *host, const char *port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_port = htons((uint16_t)atoi(port)) };
	struct timeval limit = { .tv_sec = ANSWER_S };
	int on = 1;

	conn.fd = socket(AF_INET, SOCK_STREAM, 0);
	if (conn.fd < 0 || inet_pton(AF_INET, host, &addr.sin_addr) != 1)
		failed("no address: %s", host);
	setsockopt(conn.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(conn.fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (connect(conn.fd, (struct sockaddr *)&addr, sizeof(addr)))
		failed("connect: %s", strerror(errno));
}

/* ---- redis ---- */

static void redis_begin(void)
{
	/* A database of its own: the digest of the others must not change. */
	putf("SELECT 1\r\n");
	expect("+OK");
}

static void redis_ask_set(const char *key, const char *value, size_t len)
{
	putf("*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%zu\r\n", strlen(key), key, len);
	put(value, len);
	put("\r\n", 2);
}

static void redis_done_set(void)
{
	expect("+OK");
}

static size_t redis_get(const char *key, char *value, size_t size)
{
	char line[256];
	size_t len;

	putf("*2\r\n$3\r\nGET\r\n$%zu\r\n%s\r\n", strlen(key), key);
	get_line(line, sizeof(line));
	len = line[0] == '$' && line[1] != '-' ? strtoul(line + 1, NULL, 10) : size + 1;
	if (len > size)
		failed("%s: answer '%s'", key, line);
	get_bytes(value, len);
	expect("");
	return len;
}

static uint64_t redis_incr(void)
{
	char line[256];

	putf("INCR counter\r\n");
	get_line(line, sizeof(line));
	return line[0] == ':' ? strtoull(line + 1, NULL, 10) : 0;
}

/* ---- memcached ---- */

static void memcached_ask_set(const char *key, const char *value, size_t len)
{
	putf("set %s 0 0 %zu\r\n", key, len);
	put(value, len);
	put("\r\n", 2);
}

static void memcached_done_set(void)
{
	expect("STORED");
}

static void memcached_begin(void)
{
	memcached_ask_set("counter", "0", 1);
	memcached_done_set();
}

static size_t memcached_get(const char *key, char *value, size_t size)
{
	char line[256], got[128] = "";
	size_t len = size + 1;

	putf("get %s\r\n", key);
	get_line(line, sizeof(line));
	sscanf(line, "VALUE %127s 0 %zu", got, &len);
	if (len > size || strcmp(got, key))
		failed("%s: answer '%s'", key, line);
	get_bytes(value, len);
	expect("");
	expect("END");
	return len;
}

static uint64_t memcached_incr(void)
{
	char line[256];

	putf("incr counter 1\r\n");
	get_line(line, sizeof(line));
	return strtoull(line, NULL, 10);
}

/* ---- http ---- */

static char body[BODY_MAX], first[BODY_MAX];
static size_t first_len;

static void http_request(void)
{
	size_t len = BODY_MAX + 1;
	char line[1024];

	putf("GET /blob HTTP/1.1\r\nHost: test\r\n\r\n");
	get_line(line, sizeof(line));
	if (strncmp(line, "HTTP/1.1 200", 12))
		failed("answer '%s'", line);
	do {
		get_line(line, sizeof(line));
		if (!strncasecmp(line, "content-length:", 15))
			len = strtoul(line + 15, NULL, 10);
		if (!strcasecmp(line, "connection: close"))
			failed("the server wants to close the connection");
	} while (line[0]);
	if (len > BODY_MAX)
		failed("no length, or a large one");
	get_bytes(body, len);
	if (!first_len) {
		memcpy(first, body, len);
		first_len = len;
	}
	if (len != first_len || memcmp(first, body, len))
		failed("the file reads differently");
}

/* ---- what is asked ---- */

static const struct protocol {
	const char *name;
	void (*begin)(void);
	void (*ask_set)(const char *key, const char *value, size_t len);
	void (*done_set)(void);
	size_t (*get)(const char *key, char *value, size_t size);
	uint64_t (*incr)(void);
	void (*request)(void); /* instead of all the others */
} protocols[] = {
	{ "redis", redis_begin, redis_ask_set, redis_done_set, redis_get, redis_incr, NULL },
	{ "memcached", memcached_begin, memcached_ask_set, memcached_done_set, memcached_get,
	  memcached_incr, NULL },
	{ .name = "http", .request = http_request },
}, *proto;

static void timed_begin(uint64_t *t)
{
	*t = now_us();
}

static void timed_end(uint64_t start)
{
	uint64_t took = now_us() - start;

	requests++;
	if (took > longest_us) {
		longest_us = took;
		longest_at = start;
	}
	histogram[took / 10 < BUCKETS ? took / 10 : BUCKETS - 1]++;
	if (log_file)
		fprintf(log_file, "%llu %llu\n", (unsigned long long)start,
			(unsigned long long)took);
}

static void fill_value(uint64_t i, char *value)
{
	uint64_t x = (i + 1) * 0x9e3779b97f4a7c15ULL;

	for (size_t at = 0; at < FILL_SIZE; at += 8) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(value + at, &x, 8);
	}
}

static void fill(uint64_t n)
{
	char key[32], value[FILL_SIZE];
	uint64_t asked = 0;

	for (uint64_t done = 0; done < n; done++) {
		for (; asked < n && asked < done + BATCH; asked++) {
			snprintf(key, sizeof(key), "fill-%llu", (unsigned long long)asked);
			fill_value(asked, value);
			proto->ask_set(key, value, FILL_SIZE);
		}
		proto->done_set();
	}
}

static void live_key(unsigned k, char *key)
{
	snprintf(key, 32, "live-%u", k);
}

static unsigned key_of(uint64_t n)
{
	return (unsigned)(n * 2654435761u % KEYS);
}

/* Counts, writes one key and reads another. */
static void round_of_requests(uint64_t n)
{
	unsigned k = key_of(n), old = key_of(1 + (n * 40503 >> 3) % n);
	char key[32], value[64];
	uint64_t t, got;
	int len;

	timed_begin(&t);
	got = proto->incr();
	timed_end(t);
	if (got != ++counter)
		failed("the counter says %llu, %llu were acknowledged", (unsigned long long)got,
		       (unsigned long long)counter - 1);

	live_key(k, key);
	len = snprintf(value, sizeof(value), "%llu of %s", (unsigned long long)n, key);
	timed_begin(&t);
	proto->ask_set(key, value, (size_t)len);
	proto->done_set();
	timed_end(t);
	last[k] = n;
	writes += 2;

	live_key(old, key);
	timed_begin(&t);
	len = (int)proto->get(key, value, sizeof(value));
	timed_end(t);
	if (strtoull(value, NULL, 10) != last[old])
		failed("%s is %.*s, but %llu was acknowledged", key, len, value,
		       (unsigned long long)last[old]);
}

/* All that was ever acknowledged; the number of values. */
static uint64_t read_back(uint64_t filled)
{
	char key[32], value[FILL_SIZE], want[FILL_SIZE];
	uint64_t kept = 0;

	for (unsigned k = 0; k < KEYS; k++) {
		size_t len;

		if (!last[k])
			continue;
		live_key(k, key);
		snprintf(want, sizeof(want), "%llu of %s", (unsigned long long)last[k], key);
		len = proto->get(key, value, sizeof(value));
		if (len != strlen(want) || memcmp(value, want, len))
			failed("%s is %.*s, but '%s' was acknowledged", key, (int)len, value, want);
		kept++;
	}
	for (uint64_t i = 0; i < filled; i++) {
		snprintf(key, sizeof(key), "fill-%llu", (unsigned long long)i);
		fill_value(i, want);
		if (proto->get(key, value, sizeof(value)) != FILL_SIZE ||
		    memcmp(value, want, FILL_SIZE))
			failed("%s is not what was stored", key);
		kept++;
	}
	return kept;
}

static uint64_t median_us(void)
{
	uint64_t sum = 0;
	unsigned i = 0;

	while (i < BUCKETS - 1 && (sum += histogram[i]) * 2 < requests)
		i++;
	return i * 10;
}

static void on_term(int signal)
{
	(void)signal;
	stop = 1;
}

int main(int argc, char **argv)
{
	uint64_t filled = 0, kept = 0;
	useconds_t interval = 1000;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 4)
		failed("usage: client redis|memcached|http HOST PORT [--fill MIB] [--interval US] [--log FILE]");
	for (size_t i = 0; i < sizeof(protocols) / sizeof(*protocols); i++)
		if (!strcmp(argv[1], protocols[i].name))
			proto = &protocols[i];
	for (int i = 4; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--fill"))
			filled = strtoull(argv[i + 1], NULL, 10) * ((1 << 20) / FILL_SIZE);
		else if (!strcmp(argv[i], "--interval"))
			interval = (useconds_t)atoi(argv[i + 1]);
		else if (!strcmp(argv[i], "--log"))
			log_file = fopen(argv[i + 1], "w");
	}
	if (!proto)
		failed("unknown protocol %s", argv[1]);
	signal(SIGTERM, on_term);
	connect_to(argv[2], argv[3]);
	if (proto->begin)
		proto->begin();
	if (filled)
		fill(filled);
	printf("ready\n");
	for (uint64_t n = 1; !stop; n++) {
		uint64_t t;

		if (!proto->request) {
			round_of_requests(n);
		} else {
			timed_begin(&t);
			proto->request();
			timed_end(t);
		}
		usleep(interval);
	}
	if (!proto->request)
		kept = read_back(filled);
	printf("ok requests=%llu writes=%llu kept=%llu longest_ms=%.1f at_us=%llu median_us=%llu\n",
	       (unsigned long long)requests, (unsigned long long)writes, (unsigned long long)kept,
	       (double)longest_us / 1000, (unsigned long long)longest_at,
	       (unsigned long long)median_us());
	return 0;
}
