// SPDX-License-Identifier: GPL-2.0-only
/*
 * Kinds of images: a row for each.  CRIU's names for its magic words, and the messages of those
 * that this project understands; a new kind of image is a row here and a word in image.h.
 */
#include <stddef.h>

#include "image.h"
#include "images/cpr.pb-c.h"
#include "images/criu.pb-c.h"
#include "images/session.pb-c.h"
#include "images/source.pb-c.h"

/* criu.proto has only some fields of these: enough to work with, too few to show. */
#define PART(message)  .entry = &message##__descriptor
#define WHOLE(message) .entry = &message##__descriptor, .whole = 1
#define HEAD(message)  .head = &message##__descriptor

static const struct mfd_image_kind kinds[] = {
	{ .magic = MFD_IMAGE_INVENTORY, .name = "INVENTORY", WHOLE(mfd_criu__inventory_entry) },
	{ .magic = MFD_IMAGE_PSTREE, .name = "PSTREE", WHOLE(mfd_criu__pstree_entry) },
	{ .magic = MFD_IMAGE_PAGEMAP,
	  .name = "PAGEMAP",
	  HEAD(mfd_criu__pagemap_head),
	  WHOLE(mfd_criu__pagemap_entry) },
	{ .magic = MFD_IMAGE_MM, .name = "MM", WHOLE(mfd_criu__mm_entry) },
	{ .magic = MFD_IMAGE_SESSION, .name = "SESSION", WHOLE(mfd__session_entry) },
	{ .magic = MFD_IMAGE_SOURCE, .name = "SOURCE", WHOLE(mfd__source_entry) },
	{ .magic = MFD_IMAGE_CPR, .name = "CPR_FDS", HEAD(mfd__cpr_header), WHOLE(mfd__cpr_entry) },
	{ .magic = MFD_IMAGE_FDINFO, .name = "FDINFO", PART(mfd_criu__fdinfo_entry) },
	{ .magic = MFD_IMAGE_CORE, .name = "CORE", PART(mfd_criu__core_entry) },
	{ .magic = MFD_IMAGE_IDS, .name = "IDS", PART(mfd_criu__task_kobj_ids_entry) },
	{ .magic = 0x54123737, .name = "VMAS" },
	{ .magic = 0x56513555, .name = "PIPES" },
	{ .magic = 0x56453709, .name = "PIPES_DATA" },
	{ .magic = 0x58364939, .name = "FIFO" },
	{ .magic = 0x59333054, .name = "FIFO_DATA" },
	{ .magic = 0x55344201, .name = "SIGACT" },
	{ .magic = 0x54373943, .name = "UNIXSK" },
	{ .magic = 0x56443851, .name = "INETSK" },
	{ .magic = 0x60454618, .name = "PACKETSK" },
	{ .magic = 0x57464056, .name = "ITIMERS" },
	{ .magic = 0x52603957, .name = "POSIX_TIMERS" },
	{ .magic = 0x56264026, .name = "SK_QUEUES" },
	{ .magic = 0x54473203, .name = "UTSNS" },
	{ .magic = 0x54023547, .name = "CREDS" },
	{ .magic = 0x53115007, .name = "IPC_VAR" },
	{ .magic = 0x46283044, .name = "IPCNS_SHM" },
	{ .magic = 0x55453737, .name = "IPCNS_MSG" },
	{ .magic = 0x59573019, .name = "IPCNS_SEM" },
	{ .magic = 0x50363636, .name = "REG_FILES" },
	{ .magic = 0x59255641, .name = "EXT_FILES" },
	{ .magic = 0x51403912, .name = "FS" },
	{ .magic = 0x59133954, .name = "REMAP_FPATH" },
	{ .magic = 0x52583605, .name = "GHOST_FILE" },
	{ .magic = 0x51465506, .name = "TCP_STREAM" },
	{ .magic = 0x44523722, .name = "EVENTFD_FILE" },
	{ .magic = 0x45023858, .name = "EVENTPOLL_FILE" },
	{ .magic = 0x44433746, .name = "EVENTPOLL_TFD" },
	{ .magic = 0x57323820, .name = "SIGNALFD" },
	{ .magic = 0x48424431, .name = "INOTIFY_FILE" },
	{ .magic = 0x54562009, .name = "INOTIFY_WD" },
	{ .magic = 0x55563928, .name = "MNTS" },
	{ .magic = 0x57373951, .name = "NETDEV" },
	{ .magic = 0x55933752, .name = "NETNS" },
	{ .magic = 0x59433025, .name = "TTY_FILES" },
	{ .magic = MFD_IMAGE_TTY_INFO, .name = "TTY_INFO", PART(mfd_criu__tty_info_entry) },
	{ .magic = 0x59413026, .name = "TTY_DATA" },
	{ .magic = 0x54323616, .name = "FILE_LOCKS" },
	{ .magic = 0x57113925, .name = "RLIMIT" },
	{ .magic = 0x55096122, .name = "FANOTIFY_FILE" },
	{ .magic = 0x56506035, .name = "FANOTIFY_MARK" },
	{ .magic = 0x59255647, .name = "SIGNAL" },
	{ .magic = 0x58005614, .name = "NETLINK_SK" },
	{ .magic = 0x61394011, .name = "NS_FILES" },
	{ .magic = 0x57143751, .name = "TUNFILE" },
	{ .magic = 0x59383330, .name = "CGROUP" },
	{ .magic = 0x50493712, .name = "TIMERFD" },
	{ .magic = 0x61404013, .name = "CPUINFO" },
	{ .magic = 0x55474906, .name = "USERNS" },
	{ .magic = 0x64413049, .name = "SECCOMP" },
	{ .magic = 0x67343323, .name = "BINFMT_MISC" },
	{ .magic = 0x49353943, .name = "AUTOFS" },
	{ .magic = MFD_IMAGE_FILES, .name = "FILES", PART(mfd_criu__file_entry) },
	{ .magic = 0x48453499, .name = "MEMFD_INODE" },
	{ .magic = 0x43114433, .name = "TIMENS" },
	{ .magic = 0x61157326, .name = "PIDNS" },
	{ .magic = 0x57506142, .name = "BPFMAP_FILE" },
	{ .magic = 0x64324033, .name = "BPFMAP_DATA" },
	{ .magic = 0x59423047, .name = "APPARMOR" },
	{ .magic = 0x54435556, .name = "PIDFD" },
	{ .magic = 0x57093306, .name = "STATS" },
	{ .magic = 0x57004059, .name = "IRMAP_CACHE" },
};

const struct mfd_image_kind *mfd_image_kind(uint32_t type_magic)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (kinds[i].magic == type_magic)
			return &kinds[i];
	return NULL;
}
