/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tree needs to find on the target: files by their paths, numbers of processes, ports, and
 * what a host limits.
 */
#ifndef MFD_CHECK_WANTS_H
#define MFD_CHECK_WANTS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "buildid.h"

#define MFD_WANTS_FILES 2048
#define MFD_WANTS_PIDS	8192
#define MFD_WANTS_PORTS 256

struct mfd_want {
	char *path;
	uint64_t size;
	int folder;  /* bool: a folder; it has no size */
	int grows;   /* bool: it is open for writing, so it may have become larger */
	int unsized; /* bool: CRIU does not look at its size: it is open for appending alone */
	int stays;   /* bool: a program or library of the first process */
	uint8_t id[MFD_BUILDID_MAX];
	size_t id_len;
	dev_t dev; /* to know it again */
	ino_t ino;
};

/* A TCP socket that listens, in this program's own network namespace. */
struct mfd_want_port {
	uint8_t address[16];
	size_t len; /* of it: 4 or 16 */
	uint16_t port;
	pid_t pid;
};

/* What a host limits. */
enum mfd_want_limit {
	MFD_WANT_DESCRIPTOR, /* the highest that a process has */
	MFD_WANT_NOFILE,     /* the largest limit of them (RLIMIT_NOFILE) */
	MFD_WANT_PID,	     /* the highest number of a process, as the images have it */
	MFD_WANT_THREADS,    /* of all processes together */
	MFD_WANT_MAPS,	     /* the most mappings of a process */
	MFD_WANT_LIMITS,
};

struct mfd_wants {
	struct mfd_want *file;
	size_t n, room;
	uint32_t *pid; /* of every thread, as the images have them */
	size_t n_pids, room_pids;
	struct mfd_want_port *port;
	size_t n_ports, room_ports;
	struct {
		uint64_t most;
		pid_t pid; /* which process has it */
	} limit[MFD_WANT_LIMITS];
};

void mfd_wants_free(struct mfd_wants *w);

#endif
