/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Control groups, by the paths of /proc/PID/cgroup, which this file alone reads; those of version 2
 * are written, too.
 *
 * Processes live in domains.  Below a domain there may be threaded groups, among which the threads
 * of a process are spread: such a process is moved to the domain, its threads then to their groups.
 */
#ifndef MFD_CGROUP_H
#define MFD_CGROUP_H

#include <sys/types.h>

#define MFD_CGROUP_PATH 512

/* The root of the hierarchy, mounted or not: a descriptor that the caller closes, or -errno. */
int mfd_cgroup_open(void);
/* 0 or -errno. */
int mfd_cgroup_write(int root, const char *group, const char *file, const char *text);
/* A process with all its threads, or one thread; 0 also if it has died meanwhile. */
int mfd_cgroup_move(int root, const char *group, pid_t pid);
int mfd_cgroup_move_thread(int root, const char *group, pid_t tid);
/*
 * The group of a thread in a hierarchy as /proc/PID/cgroup names it: "0::" is version 2's,
 * ":freezer:" that of version 1 which can freeze.  To be freed; NULL with -errno: -ENODEV: it is in
 * none.
 */
int mfd_cgroup_path(pid_t pid, pid_t tid, const char *hierarchy, char **path);
/* The group of version 2, MFD_CGROUP_PATH bytes; -EXDEV: outside of this process's view. */
int mfd_cgroup_of(pid_t pid, pid_t tid, char *group);
int mfd_cgroup_is_threaded(int root, const char *group); /* bool; no domain */
/* Cut the last name off; 0: it was the root already. */
int mfd_cgroup_up(char *group);

#endif
