// SPDX-License-Identifier: GPL-2.0-only
/*
 * A TCP service to move, and its client.
 *
 * echod serve ADDR PORT MIB	echoes; has so much memory with something in it
 * echod client ADDR PORT	sends numbered words and expects them back, one every 5 ms, over one
 *				connection: "N words, gap MS" is written to standard output after
 *				each 20; ends with 0 on SIGTERM, with 1 when the connection breaks
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_CLIENTS 16

static volatile sig_atomic_t stop;

static void on_term(int sig)
{
	(void)sig;
	stop = 1;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int make_socket(const char *addr, int port, struct sockaddr_storage *ss, socklen_t *len)
{
	struct sockaddr_in *v4 = (void *)ss;
	struct sockaddr_in6 *v6 = (void *)ss;
	int one = 1, s;

	memset(ss, 0, sizeof(*ss));
	if (strchr(addr, ':')) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		inet_pton(AF_INET6, addr, &v6->sin6_addr);
		*len = sizeof(*v6);
	} else {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		inet_pton(AF_INET, addr, &v4->sin_addr);
		*len = sizeof(*v4);
	}
	s = socket(ss->ss_family, SOCK_STREAM, 0);
	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return s;
}

static int serve(const char *addr, int port, size_t mib)
{
	struct pollfd p[1 + MAX_CLIENTS];
	struct sockaddr_storage ss;
	socklen_t len;
	int n = 1, s = make_socket(addr, port, &ss, &len);
	unsigned *memory = malloc(mib << 20);
	char buf[4096];

	for (size_t i = 0; memory && i < (mib << 20) / sizeof(*memory); i++)
		memory[i] = (unsigned)i * 2654435761u;
	if (s < 0 || !memory || bind(s, (struct sockaddr *)&ss, len) || listen(s, 8)) {
		perror("echod");
		return 1;
	}
	p[0] = (struct pollfd){ .fd = s, .events = POLLIN };
	for (;;) {
		if (poll(p, (nfds_t)n, -1) < 0)
			continue;
		if (p[0].revents && n <= MAX_CLIENTS)
			p[n++] = (struct pollfd){ .fd = accept(s, NULL, NULL), .events = POLLIN };
		for (int i = 1; i < n; i++) {
			ssize_t got = p[i].revents ? read(p[i].fd, buf, sizeof(buf)) : -2;

			if (got > 0 && write(p[i].fd, buf, (size_t)got) == got)
				continue;
			if (got != -2) {
				close(p[i].fd);
				p[i--] = p[--n];
			}
		}
	}
}

static int all(int s, char *buf, size_t n, ssize_t (*fn)(int, char *, size_t))
{
	while (n) {
		ssize_t k = fn(s, buf, n);

		if (k < 0 && errno == EINTR && !stop)
			continue;
		if (k <= 0)
			return -1;
		buf += k;
		n -= (size_t)k;
	}
	return 0;
}

static ssize_t do_read(int s, char *buf, size_t n)
{
	return read(s, buf, n);
}

static ssize_t do_write(int s, char *buf, size_t n)
{
	return write(s, buf, n);
}

static int client(const char *addr, int port)
{
	struct sigaction sa = { .sa_handler = on_term };
	struct sockaddr_storage ss;
	socklen_t len;
	int s = make_socket(addr, port, &ss, &len);
	uint64_t before, gap = 0;
	char out[32], in[32];

	sigaction(SIGTERM, &sa, NULL);
	if (connect(s, (struct sockaddr *)&ss, len)) {
		perror("connect");
		return 1;
	}
	for (unsigned i = 1; !stop; i++) {
		memset(out, 0, sizeof(out));
		snprintf(out, sizeof(out), "word %u", i);
		before = now_ms();
		if (all(s, out, sizeof(out), do_write) || all(s, in, sizeof(in), do_read)) {
			if (!stop)
				printf("broken after %u words: %s\n", i, strerror(errno));
			return !stop;
		}
		if (memcmp(in, out, sizeof(in))) {
			printf("broken: word %u came back as something else\n", i);
			return 1;
		}
		if (now_ms() - before > gap)
			gap = now_ms() - before;
		if (i % 20 == 0)
			printf("%u words, gap %llu\n", i, (unsigned long long)gap);
		usleep(5000);
	}
	return 0;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	if (argc == 5 && !strcmp(argv[1], "serve"))
		return serve(argv[2], atoi(argv[3]), (size_t)atoi(argv[4]));
	if (argc == 4 && !strcmp(argv[1], "client"))
		return client(argv[2], atoi(argv[3]));
	return 2;
}
