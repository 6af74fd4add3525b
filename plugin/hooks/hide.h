/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * page-dump = plugin: CRIU does not look at the pages of large lazy mappings.
 *
 * CRIU asks ioctl(PAGEMAP_SCAN) which pages a mapping has, splices all of them into pipes (two
 * descriptors for 1 to 4 MiB), lists them in pagemap-TASK.img and closes the pipes again: most of
 * what a lazy dump takes while the tasks stand still.  None of it is needed, as the sender reads
 * the pages by itself.  So CRIU's slot for ioctl() (interpose.h) leads here while it dumps, and the
 * mappings that the sender has named (lib/pluginlink.h) have no pages for CRIU.  The sender lists
 * them in the image instead (plugin/source/pagelist.h).
 *
 * The tasks are not touched, so there is nothing to undo when a dump fails.  A question that is not
 * exactly about pages of one named mapping gets the kernel's answer, and CRIU then lists what it
 * finds; the sender adds only what is not in the image.  So hiding may miss a mapping, or never
 * happen (CRIU reads /proc/PID/pagemap where the kernel has no PAGEMAP_SCAN), and nothing is lost.
 *
 * Without --lazy-pages CRIU's own images are all there is of the tasks, and nothing is hidden.
 */
#ifndef MFD_HOOKS_HIDE_H
#define MFD_HOOKS_HIDE_H

#include <sys/types.h>

#include "options.h"

/*
 * Make o->page_dump what it will be in this dump, "criu" or "plugin", and say so in CRIU's log;
 * replace ioctl() in the latter case.  Before the sender is started, which must agree.  -errno:
 * "plugin" was asked for and cannot be had.
 */
int mfd_hide_begin(struct mfd_options *o, struct mfd_error *err);
/* Read the mappings of a frozen task, struct mfd_link_range, from `fd`.  0 or -errno. */
int mfd_hide_task(pid_t pid, int fd, struct mfd_error *err);
/* The dump is over: CRIU's ioctl() is as it was. */
void mfd_hide_end(void);

#endif
