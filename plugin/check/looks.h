/* SPDX-License-Identifier: GPL-2.0-only */
/* The looks: each adds what it finds of c->tree; 0 or -ENOMEM. */
#ifndef MFD_CHECK_LOOKS_H
#define MFD_CHECK_LOOKS_H

#include "check.h"

int mfd_look_tasks(struct mfd_check *c);
int mfd_look_namespaces(struct mfd_check *c);
int mfd_look_files(struct mfd_check *c);
int mfd_look_mounts(struct mfd_check *c);
int mfd_look_locks(struct mfd_check *c);
int mfd_look_sockets(struct mfd_check *c);
int mfd_look_outside(struct mfd_check *c);
int mfd_look_terminals(struct mfd_check *c);
int mfd_look_memory(struct mfd_check *c);
int mfd_look_standstill(struct mfd_check *c);
int mfd_look_wants(struct mfd_check *c);
int mfd_look_limits(struct mfd_check *c);

/* "PID (NAME)", for a sentence; returns text. */
#define MFD_LOOK_NAME 48
const char *mfd_look_name(pid_t pid, char text[MFD_LOOK_NAME]);

/* Nonzero: the kernel's own name, of what never was a file of a folder ("/memfd:NAME"). */
int mfd_look_is_nameless(const char *link);

/* Call `each` for every descriptor of every process of the tree: fd and what its link says. */
struct mfd_look_fd {
	struct mfd_check *c;
	int pid, fd;
	const char *link;
	void *arg;
};
typedef int mfd_look_fd_fn(const struct mfd_look_fd *at);
int mfd_look_each_fd(struct mfd_check *c, mfd_look_fd_fn *each, void *arg);

#endif
