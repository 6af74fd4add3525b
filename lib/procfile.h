/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The one reader of /proc/PID/stat and /proc/PID/status.
 *
 * A pid may be another process by the time a file is read: what must not be mistaken is compared
 * with its start time, or kept by a pidfd.
 */
#ifndef MFD_PROCFILE_H
#define MFD_PROCFILE_H

#include <stdint.h>
#include <sys/types.h>

struct mfd_procfile_stat {
	char state; /* as ps shows it */
	pid_t ppid, session;
	unsigned tty;	     /* the kernel's dev_t of the controlling terminal, 0: none */
	unsigned flags;	     /* PF_*, linux/sched.h */
	uint64_t ticks;	     /* of processor time, of all its threads */
	uint64_t start_time; /* clock ticks since boot */
};

/* 0, or -errno: -ENOENT or -ESRCH when there is no such process or thread. */
int mfd_procfile_stat(pid_t pid, struct mfd_procfile_stat *st);
/* A text as the kernel writes it: 0 or -EIO. */
int mfd_procfile_parse_stat(const char *text, struct mfd_procfile_stat *st);
/* Nonzero: a zombie, or not even that. */
int mfd_procfile_is_over(const struct mfd_procfile_stat *st);
uint64_t mfd_procfile_start_time(pid_t pid); /* 0: no such process */
pid_t mfd_procfile_parent(pid_t pid);	     /* 0: none, or no such process */

/* /proc/PID/status, to be freed. 0 or -errno. */
int mfd_procfile_status(pid_t pid, char **text);
/*
 * The first, or the last, number of the line "KEY:" of such a text, in this base: 0; -ENOENT: there
 * is no such line, or no number in it.
 */
int mfd_procfile_first(const char *status, const char *key, int base, uint64_t *value);
/* The same of a process: 0; or -errno, with *value 0. */
int mfd_procfile_number(pid_t pid, const char *key, int base, uint64_t *value);
int mfd_procfile_last(const char *status, const char *key, int base, uint64_t *value);
/* How often its first thread left the processor, by itself or not; 0: no such process. */
uint64_t mfd_procfile_switches(pid_t pid);
/* The number of a process in its own pid namespace; 0: no such process. */
uint32_t mfd_procfile_inner_pid(pid_t pid);

/* The process of a pidfd, as seen here; 0: it has ended, or is in no pid namespace of ours. */
pid_t mfd_procfile_of_pidfd(int pidfd);
/* The inode of a namespace, /proc/PID/ns/NAME; 0: not known. */
ino_t mfd_procfile_namespace(pid_t pid, const char *name);
/* The same of this process, in whichever pid namespace /proc was mounted. */
ino_t mfd_procfile_own_namespace(const char *name);

#endif
