// SPDX-License-Identifier: GPL-2.0-only
/* This host, for PROBED: memory, processor, kernel, CRIU, limits, ports. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "hostcpu.h"
#include "io.h"
#include "life.h"
#include "pagestore.h"
#include "probe_host.h"
#include "procfile.h"
#include "server.h"

#define LISTENS	  10  /* TCP_LISTEN, in /proc/net/tcp */
#define PORTS_MAX 256 /* of one PROBE; a source names no more */

/* ---- memory ---- */

static uint64_t kib_of(const char *text, const char *key)
{
	uint64_t kib = 0;

	return mfd_procfile_first(text, key, 10, &kib) ? 0 : kib << 10;
}

static void add_memory(Mfd__Probed *r, const struct mfd_server *sv)
{
	char *text;

	if (!mfd_io_read_file(AT_FDCWD, "/proc/meminfo", 1 << 16, &text, NULL)) {
		r->memory_free = kib_of(text, "MemAvailable") + kib_of(text, "SwapFree");
		r->memory_all = kib_of(text, "MemTotal") + kib_of(text, "SwapTotal");
		r->has_memory_free = r->has_memory_all = r->memory_all > 0;
		free(text);
	}
	r->has_store_free = !mfd_pagestore_room(sv->dirfd, sv->durable, &r->store_free);
}

/* ---- limits ---- */

/* 0: not known. */
static uint64_t number_in(const char *path)
{
	uint64_t value = 0;
	char *text;

	if (mfd_io_read_file(AT_FDCWD, path, 4096, &text, NULL))
		return 0;
	value = strtoull(text, NULL, 10);
	free(text);
	return value;
}

/* CRIU raises its own limit where it may, as far as the kernel goes. */
static uint64_t descriptors(void)
{
	uint64_t caps = 0, most = number_in("/proc/sys/fs/nr_open");
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l))
		return 0;
	if (most && !mfd_procfile_number(getpid(), "CapEff", 16, &caps) &&
	    caps >> CAP_SYS_RESOURCE & 1)
		return most;
	return l.rlim_max;
}

/* The fourth word of /proc/loadavg is "running/all". */
static uint64_t threads_free(void)
{
	uint64_t most = number_in("/proc/sys/kernel/threads-max"), all = 0;
	char *text, *slash;

	if (mfd_io_read_file(AT_FDCWD, "/proc/loadavg", 4096, &text, NULL))
		return 0;
	slash = strchr(text, '/');
	all = slash ? strtoull(slash + 1, NULL, 10) : 0;
	free(text);
	return all && most > all ? most - all : 0;
}

static void add_limits(Mfd__Probed *r)
{
	r->descriptors = descriptors();
	r->has_descriptors = r->descriptors > 0;
	r->pid_max = number_in("/proc/sys/kernel/pid_max");
	r->has_pid_max = r->pid_max > 0;
	r->threads_free = threads_free();
	r->has_threads_free = r->threads_free > 0;
	r->map_max = number_in("/proc/sys/vm/max_map_count");
	r->has_map_max = r->map_max > 0;
}

/* ---- the rest ---- */

static void add_processor(Mfd__Probed *r)
{
	struct mfd_hostcpu c;

	mfd_hostcpu(&c);
	r->machine = strdup(c.machine);
	r->cpu_flags = c.flags;
	c.flags = NULL; /* the answer's */
	r->xfeatures = c.xfeatures;
	r->xsave_size = c.xsave_size;
	r->has_xfeatures = r->has_xsave_size = c.xsave_size > 0;
	mfd_hostcpu_free(&c);
}

void mfd_probe_host(Mfd__Probed *r, const struct mfd_server *sv)
{
	struct utsname un = { .release = "" };

	uname(&un);
	r->kernel = strdup(un.release);
	r->program_version = strdup(MFD_VERSION);
	r->criu_version = sv->criu.version ? strdup(sv->criu.version) : NULL;
	r->has_own_pids = 1;
	r->own_pids = sv->restore && sv->criu.own_pids;
	add_memory(r, sv);
	add_processor(r);
	add_limits(r);
}

void mfd_probe_host_free(Mfd__Probed *r)
{
	free(r->kernel);
	free(r->program_version);
	free(r->criu_version);
	free(r->machine);
	free(r->cpu_flags);
	free(r->port);
}

/* ---- ports ---- */

/* Of a line "  0: 0100007F:1F90 00000000:0000 0A ...": 32 bits each, as this host has them. */
static int parse(const char *line, size_t len, uint8_t address[16], unsigned *port)
{
	const char *at = strchr(line, ':');
	unsigned state;

	if (!at || strlen(at) < 2 * len + 16)
		return -1;
	for (size_t i = 0; i < len / 4; i++) {
		uint32_t word;

		if (sscanf(at + 2 + 8 * i, "%8" SCNx32, &word) != 1)
			return -1;
		memcpy(address + 4 * i, &word, 4);
	}
	if (sscanf(at + 2 + 2 * len, ":%4x %*[^ ] %2x", port, &state) != 2)
		return -1;
	return state == LISTENS ? 0 : -1;
}

static int is_any(const uint8_t *address, size_t len)
{
	static const uint8_t none[16];

	return !memcmp(address, none, len);
}

/* Of the same family: whether one of the other takes it, too, cannot be seen from here. */
static int takes(const uint8_t *address, size_t len, unsigned port, const Mfd__ProbePort *p)
{
	return p->address.len == len && p->port == port &&
	       (is_any(address, len) || is_any(p->address.data, len) ||
		!memcmp(address, p->address.data, len));
}

/* Mark those of the first n ports that a line of the table takes. */
static void look_in(const char *table, size_t len, const Mfd__Probe *m, size_t n, uint8_t *taken)
{
	char *text, *save = NULL;

	if (mfd_io_read_file(AT_FDCWD, table, 16 << 20, &text, NULL))
		return;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		uint8_t address[16];
		unsigned port;

		if (parse(line, len, address, &port))
			continue;
		for (size_t i = 0; i < n; i++)
			taken[i] |= (uint8_t)takes(address, len, port, m->port[i]);
	}
	free(text);
}

/* In the source's own network namespace they are the source's own, and are gone by then. */
static int ports_matter(const struct mfd_server *sv, const Mfd__Probe *m)
{
	char boot[MFD_LIFE_BOOT];

	if (sv->criu.netns)
		return 0;
	return !m->boot_id || mfd_life_boot(boot) || strcmp(boot, m->boot_id) != 0 ||
	       !m->has_net_ns || m->net_ns != mfd_procfile_own_namespace("net");
}

int mfd_probe_ports(Mfd__Probed *r, const struct mfd_server *sv, const Mfd__Probe *m)
{
	size_t n = m->n_port < PORTS_MAX ? m->n_port : PORTS_MAX;
	uint8_t taken[PORTS_MAX] = { 0 };

	r->port = calloc(n + 1, sizeof(*r->port));
	if (!r->port)
		return -ENOMEM;
	if (!n || !ports_matter(sv, m))
		return 0;
	look_in("/proc/thread-self/net/tcp", 4, m, n, taken);
	look_in("/proc/thread-self/net/tcp6", 16, m, n, taken);
	for (size_t i = 0; i < n; i++)
		if (taken[i])
			r->port[r->n_port++] = (uint32_t)i;
	return 0;
}
