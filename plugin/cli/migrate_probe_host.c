// SPDX-License-Identifier: GPL-2.0-only
/*
 * The target's host beside this one: memory, processor, CRIU, limits, ports.  What an older target
 * does not say is not compared.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "hostcpu.h"
#include "migrate_probe.h"
#include "size.h"
#include "text.h"

static void take_memory(const struct mfd_migrate *m, struct mfd_check *c, const Mfd__Probed *r)
{
	char need[MFD_SIZE_TEXT], room[MFD_SIZE_TEXT];
	int safe = m->o.mode != MFD_MODE_POSTCOPY;

	if (r->userfaultfd)
		mfd_check_add(c, MFD_FOUND_THERE_UFFD, 0, "userfaultfd: %.80s", r->userfaultfd);
	if (r->has_memory_free && c->memory > r->memory_free)
		mfd_check_add(c, MFD_FOUND_THERE_MEMORY, c->memory,
			      "it has %s, and %s are available there",
			      mfd_size_text(c->memory, need), mfd_size_text(r->memory_free, room));
	if (safe && r->has_store_free && c->memory > r->store_free)
		mfd_check_add(c, MFD_FOUND_THERE_STORE, c->memory,
			      "it has %s, and the file system of the sessions has %s free",
			      mfd_size_text(c->memory, need), mfd_size_text(r->store_free, room));
}

/* ---- processor ---- */

static void take_xsave(struct mfd_check *c, const struct mfd_hostcpu *here, const Mfd__Probed *r)
{
	uint64_t lacking = here->xfeatures & ~r->xfeatures;

	if (!here->xsave_size || !r->has_xfeatures || !r->has_xsave_size)
		return;
	if (lacking)
		mfd_check_add(c, MFD_FOUND_THERE_CPU, 0,
			      "parts of the registers (xfeatures %#" PRIx64 ")", lacking);
	if (r->xsave_size > here->xsave_size)
		mfd_check_add(c, MFD_FOUND_THERE_XSAVE, 0, "%u bytes there, %u here", r->xsave_size,
			      here->xsave_size);
}

static void take_processor(struct mfd_check *c, const Mfd__Probed *r)
{
	struct mfd_hostcpu here;
	char text[280];

	mfd_hostcpu(&here);
	if (r->machine && strcmp(r->machine, here.machine) != 0) {
		mfd_check_add(c, MFD_FOUND_THERE_MACHINE, 0, "it is %.60s, and this one is %s",
			      r->machine, here.machine);
	} else {
		if (here.flags && r->cpu_flags &&
		    mfd_hostcpu_lacking(here.flags, r->cpu_flags, text, sizeof(text)))
			mfd_check_add(c, MFD_FOUND_THERE_CPU, 0, "%s", text);
		take_xsave(c, &here, r);
	}
	mfd_hostcpu_free(&here);
}

/* ---- programs ---- */

static void copy(char *to, size_t len, const char *from)
{
	snprintf(to, len, "%s", from ? from : "");
	mfd_image_text_clean(to);
}

static void take_programs(const struct mfd_migrate *m, struct mfd_check *c, const Mfd__Probed *r)
{
	const struct mfd_hostcriu *own = &m->criu;
	int major, minor;

	copy(c->there.kernel, sizeof(c->there.kernel), r->kernel);
	copy(c->there.criu, sizeof(c->there.criu), r->criu_version);
	copy(c->there.program, sizeof(c->there.program), r->program_version);
	if (own->major && sscanf(c->there.criu, "%d.%d", &major, &minor) == 2 &&
	    (major < own->major || (major == own->major && minor < own->minor)))
		mfd_check_add(c, MFD_FOUND_THERE_CRIU, 0, "CRIU %s there, %d.%d.%d here",
			      c->there.criu, own->major, own->minor, own->patch);
}

/* ---- limits ---- */

/* What is at most the limit, of those that are known; 0: not known. */
static void take_limits(struct mfd_check *c, const Mfd__Probed *r)
{
	const struct {
		enum mfd_want_limit what;
		uint64_t limit;
		unsigned beyond; /* the limit itself is one too many: a number, not a count */
		const char *has, *there;
	} limits[] = {
		{ MFD_WANT_DESCRIPTOR, c->with_restore ? r->descriptors : 0, 1, "has descriptor",
		  "open files of a process" },
		{ MFD_WANT_NOFILE, c->with_restore ? r->descriptors : 0, 0,
		  "has the limit of open files", "open files of a process" },
		{ MFD_WANT_PID, r->pid_max, 1, "or a thread of it has the number",
		  "numbers of processes" },
		{ MFD_WANT_THREADS, r->threads_free, 0, "and its children have threads, together",
		  "more threads" },
		{ MFD_WANT_MAPS, r->map_max, 0, "has mappings", "mappings of a process" },
	};

	for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
		uint64_t most = c->wants.limit[limits[i].what].most;

		if (!limits[i].limit || most + limits[i].beyond <= limits[i].limit)
			continue;
		mfd_check_add(c, MFD_FOUND_THERE_LIMIT, most,
			      "process %d %s: %" PRIu64 ", and %" PRIu64
			      " is the limit of %s there",
			      c->wants.limit[limits[i].what].pid, limits[i].has, most,
			      limits[i].limit, limits[i].there);
	}
}

void mfd_migrate_probe_host(const struct mfd_migrate *m, struct mfd_check *c, const Mfd__Probed *r)
{
	take_memory(m, c, r);
	take_processor(c, r);
	take_programs(m, c, r);
	take_limits(c, r);
}

void mfd_migrate_probe_ports(struct mfd_check *c, const Mfd__Probed *r)
{
	for (size_t i = 0; i < r->n_port; i++) {
		const struct mfd_want_port *p;
		char address[INET6_ADDRSTRLEN] = "?";

		if (r->port[i] >= c->wants.n_ports)
			continue;
		p = &c->wants.port[r->port[i]];
		inet_ntop(p->len == 4 ? AF_INET : AF_INET6, p->address, address, sizeof(address));
		mfd_check_add(c, MFD_FOUND_THERE_PORT, 0, "process %d listens at %s port %u",
			      p->pid, address, p->port);
	}
}
