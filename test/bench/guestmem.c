// SPDX-License-Identifier: GPL-2.0-only
/*
 * guestmem: give a QEMU guest that has never run the memory of another process, and compare it
 * afterwards.
 *
 *	guestmem copy FROM TO MIB	guestmem compare FROM TO MIB
 *
 * FROM and TO are PID:ADDRESS, or a PID alone: then the one private anonymous mapping of just that
 * many MiB is meant, which is how the guest's memory is found in QEMU. Copying is done from
 * outside, page by page into memory that was never touched, so the guest's memory is QEMU's own,
 * and is charged to it, as if the guest had written it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#define CHUNK (1UL << 20)

struct place {
	pid_t pid;
	uint64_t addr;
};

static int find_mapping(struct place *p, uint64_t len)
{
	char path[64], line[512], prot[5];
	uint64_t from, to, inode;
	int found = 0, name;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", p->pid);
	f = fopen(path, "re");
	if (!f) {
		fprintf(stderr, "guestmem: %s: %s\n", path, strerror(errno));
		return -1;
	}
	while (fgets(line, sizeof(line), f)) {
		name = 0;
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*s %*s %" SCNu64 " %n", &from, &to,
			   prot, &inode, &name) < 4)
			continue;
		if (to - from != len || inode || strcmp(prot, "rw-p") || line[name])
			continue;
		p->addr = from;
		found++;
	}
	fclose(f);
	if (found != 1)
		fprintf(stderr,
			"guestmem: process %d has %d mappings of %" PRIu64 " MiB, not one\n",
			p->pid, found, len >> 20);
	return found == 1 ? 0 : -1;
}

static int parse(struct place *p, const char *arg, uint64_t len)
{
	char *end;

	p->pid = (pid_t)strtol(arg, &end, 10);
	if (p->pid > 0 && *end == ':') {
		p->addr = strtoull(end + 1, &end, 0);
		if (!*end)
			return 0;
	}
	if (p->pid <= 0 || *end) {
		fprintf(stderr, "guestmem: %s: PID or PID:ADDRESS is meant\n", arg);
		return -1;
	}
	return find_mapping(p, len);
}

static int transfer(ssize_t (*how)(pid_t, const struct iovec *, unsigned long, const struct iovec *,
				   unsigned long, unsigned long),
		    const struct place *p, uint64_t offset, void *buf)
{
	struct iovec local = { buf, CHUNK },
		     remote = { (void *)(uintptr_t)(p->addr + offset), CHUNK };
	ssize_t n = how(p->pid, &local, 1, &remote, 1, 0);

	if (n == (ssize_t)CHUNK)
		return 0;
	fprintf(stderr, "guestmem: memory of process %d at %#" PRIx64 ": %s\n", p->pid,
		p->addr + offset, n < 0 ? strerror(errno) : "not all of it is there");
	return -1;
}

static int run(int compare, const struct place *from, const struct place *to, uint64_t len)
{
	char *a = malloc(CHUNK), *b = malloc(CHUNK);
	int ret = a && b ? 0 : -1;

	for (uint64_t offset = 0; !ret && offset < len; offset += CHUNK) {
		ret = transfer(process_vm_readv, from, offset, a);
		if (!ret)
			ret = transfer(compare ? process_vm_readv : process_vm_writev, to, offset,
				       compare ? b : a);
		if (!ret && compare && memcmp(a, b, CHUNK)) {
			fprintf(stderr,
				"guestmem: the memories differ in the MiB at %#" PRIx64 "\n",
				offset);
			ret = -1;
		}
	}
	free(a);
	free(b);
	return ret;
}

int main(int argc, char **argv)
{
	struct place from, to;
	uint64_t len = argc == 5 ? strtoull(argv[4], NULL, 10) << 20 : 0;

	if (!len || (strcmp(argv[1], "copy") && strcmp(argv[1], "compare"))) {
		fprintf(stderr, "usage: guestmem copy|compare PID[:ADDRESS] PID[:ADDRESS] MIB\n");
		return 2;
	}
	if (parse(&from, argv[2], len) || parse(&to, argv[3], len))
		return 1;
	return run(!strcmp(argv[1], "compare"), &from, &to, len) ? 1 : 0;
}
