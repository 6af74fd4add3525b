// SPDX-License-Identifier: GPL-2.0-only
/*
 * The table of findings.  A new one is a row here, its name in kinds.h, and a look that adds it;
 * what check prints, what migrate adds or refuses, and the manual follow from the row.
 */
#include <stddef.h>

#include "kinds.h"

const char *const mfd_check_verdict_ids[MFD_CHECK_VERDICTS] = {
	[MFD_CHECK_CANNOT] = "cannot-move",
	[MFD_CHECK_OPTION] = "needs-option",
	[MFD_CHECK_TARGET] = "needs-on-target",
	[MFD_CHECK_SLOW] = "slow",
};

const char *const mfd_check_verdict_texts[MFD_CHECK_VERDICTS] = {
	[MFD_CHECK_CANNOT] = "cannot move",
	[MFD_CHECK_OPTION] = "needs an option",
	[MFD_CHECK_TARGET] = "needs on the target",
	[MFD_CHECK_SLOW] = "will be slow",
};

const struct mfd_check_kind mfd_check_kinds[MFD_CHECK_KINDS] = {
	[MFD_FOUND_UNMOVABLE] = {
		.id = "unmovable",
		.verdict = MFD_CHECK_CANNOT,
		.what = "io_uring, memfd_secret, vsock, unix sockets of another network namespace",
		.text = "let the program run without it: many services have a setting for io_uring",
	},
	[MFD_FOUND_SOCKET_KIND] = {
		.id = "socket-kind",
		.verdict = MFD_CHECK_CANNOT,
		.what = "sockets of kinds that CRIU does not know: SCTP, MPTCP, AF_ALG, CAN ...",
		.text = "let the program run without them",
	},
	[MFD_FOUND_CRIU_TOO_OLD] = {
		.id = "criu-too-old",
		.verdict = MFD_CHECK_CANNOT,
		.what = "network sockets on a kernel that is newer than this CRIU",
		.text = "this kernel has no SO_PASSCRED of network sockets, which CRIU before 4.2 "
			"asks for (\"Can't get 1:16 opt\"): install CRIU 4.2 or later",
	},
	[MFD_FOUND_MOUNT] = {
		.id = "mount-outside",
		.verdict = MFD_CHECK_CANNOT,
		.instead = "external",
		.what = "files of mounts that the processes do not see, POSIX message queues among them",
		.text = "CRIU finds no path to it (\"Can't lookup mount\"): criu's option "
			"--external file[MOUNT:INODE] names one that the restore is given",
	},
	[MFD_FOUND_TRACED] = {
		.id = "traced",
		.verdict = MFD_CHECK_CANNOT,
		.what = "a tracer: a debugger, strace, or another dump that is under way",
		.text = "a task has one tracer at a time, and CRIU must be it: end the tracer first",
	},
	[MFD_FOUND_HELD] = {
		.id = "held",
		.verdict = MFD_CHECK_CANNOT,
		.what = "frozen control groups, and those of a move that is not settled",
		.text = "settle that, or thaw the group",
	},
	[MFD_FOUND_NO_LEADER] = {
		.id = "first-thread-ended",
		.verdict = MFD_CHECK_CANNOT,
		.what = "processes whose first thread has ended while others run on",
		.text = "CRIU cannot dump such a process",
	},
	[MFD_FOUND_SESSION] = {
		.id = "session-outside",
		.verdict = MFD_CHECK_CANNOT,
		.what = "sessions whose leader is outside of the pid namespace",
		.text = "start the namespace's first process with setsid",
	},
	[MFD_FOUND_NAMESPACE] = {
		.id = "nested-namespace",
		.verdict = MFD_CHECK_CANNOT,
		.what = "UTS, IPC, user, pid and time namespaces inside that of the first process",
		.text = "CRIU cannot dump namespaces of these kinds inside each other",
	},
	[MFD_FOUND_LIMITS] = {
		.id = "limits-unreadable",
		.verdict = MFD_CHECK_CANNOT,
		.what = "processes of another user, where CAP_SYS_RESOURCE is missing here",
		.text = "CRIU reads every task's limits: give this host's root CAP_SYS_RESOURCE",
	},
	[MFD_FOUND_SYSV] = {
		.id = "sysv-ipc",
		.verdict = MFD_CHECK_CANNOT,
		.what = "System V shared memory outside of an IPC namespace",
		.text = "start the program in an IPC namespace of its own (unshare --ipc)",
	},
	[MFD_FOUND_PIPES] = {
		.id = "descriptor-limit",
		.verdict = MFD_CHECK_CANNOT,
		.what = "with page-dump = criu: more memory than CRIU has descriptors for, two for each "
			"pipe full of pages",
		.text = "page-dump = auto; or raise this host's limit of open files (ulimit -Hn)",
	},
	[MFD_FOUND_TCP] = {
		.id = "tcp-established",
		.verdict = MFD_CHECK_OPTION,
		.option = "tcp-established",
		.instead = "tcp-close",
		.what = "TCP connections",
		.text = "they go on there if their address moves along (--move-address); "
			"--tcp-close closes them instead",
	},
	[MFD_FOUND_IN_FLIGHT] = {
		.id = "in-flight",
		.verdict = MFD_CHECK_OPTION,
		.option = "skip-in-flight",
		.costs = 1,
		.what = "TCP connections that the program has not accepted yet",
		.text = "the option cuts them; without it the dump fails unless they are accepted by "
			"then",
	},
	[MFD_FOUND_UNIX_NAMED] = {
		.id = "ext-unix-sk",
		.verdict = MFD_CHECK_OPTION,
		.option = "ext-unix-sk",
		.what = "datagram sockets that are connected to a named one outside, as /dev/log",
		.text = "they are connected again to the socket of that name there",
	},
	[MFD_FOUND_LOCK] = {
		.id = "file-locks",
		.verdict = MFD_CHECK_OPTION,
		.option = "file-locks",
		.what = "file locks and leases",
		.text = "they are taken again there",
	},
	[MFD_FOUND_JOB] = {
		.id = "shell-job",
		.verdict = MFD_CHECK_OPTION,
		.option = "shell-job",
		.what = "processes whose session is led by one that does not come along, as a shell's",
		.text = "it becomes part of the session that restores it",
	},
	[MFD_FOUND_GHOST] = {
		.id = "ghost-limit",
		.verdict = MFD_CHECK_OPTION,
		.option = "ghost-limit",
		.valued = 1,
		.what = "deleted files that are open or mapped, of more than 1 MiB",
		.text = "they travel inside of CRIU's images",
	},
	[MFD_FOUND_LINK] = {
		.id = "link-remap",
		.verdict = MFD_CHECK_OPTION,
		.option = "link-remap",
		.what = "open files that have another name than the one they were opened by",
		.text = "CRIU makes one in their folder, which both hosts must see",
	},
	[MFD_FOUND_UNIX_OUTSIDE] = {
		.id = "unix-outside",
		.verdict = MFD_CHECK_TARGET,
		.what = "unix sockets that are connected to a process which stays here",
		.text = "offer one for each there: criu-multifd cpr offer SESSION NAME",
	},
	[MFD_FOUND_PIPE_OUTSIDE] = {
		.id = "pipe-outside",
		.verdict = MFD_CHECK_TARGET,
		.what = "pipes that a process which stays here has open, too",
		.text = "offer one for each there: criu-multifd cpr offer SESSION NAME",
	},
	[MFD_FOUND_TERMINAL] = {
		.id = "terminal",
		.verdict = MFD_CHECK_TARGET,
		.what = "terminals whose other end stays here, with sshd or a multiplexer",
		.text = "offer one there (criu-multifd cpr offer SESSION tty), or restore on one "
			"(criu-multifd restore)",
	},
	[MFD_FOUND_LOCK_SHARED] = {
		.id = "lock-shared",
		.verdict = MFD_CHECK_TARGET,
		.what = "file locks on storage that other hosts see, too",
		.text = "while the tasks are frozen here they hold the lock, and with --restore the "
			"copy waits for it in vain: move without --restore",
	},
	[MFD_FOUND_KERNEL_OBJECT] = {
		.id = "kernel-object",
		.verdict = MFD_CHECK_TARGET,
		.what = "userfaultfd, perf events, bpf programs, virtual machines and the like",
		.text = "they belong to this kernel and this process: another one must be offered "
			"there (criu-multifd cpr offer SESSION NAME)",
	},
	[MFD_FOUND_DEVICE] = {
		.id = "device",
		.verdict = MFD_CHECK_TARGET,
		.what = "devices that CRIU does not know",
		.text = "opened again by the same path there, without the state that they have here",
	},
	[MFD_FOUND_GPU] = {
		.id = "gpu",
		.verdict = MFD_CHECK_TARGET,
		.what = "GPUs",
		.text = "CRIU's own plugin for it must be there on both hosts",
	},
	[MFD_FOUND_DESCRIPTOR_NUMBER] = {
		.id = "descriptor-number",
		.verdict = MFD_CHECK_TARGET,
		.what = "descriptors beyond what this host lets a process have",
		.text = "criu restore would say \"Can't chose service_fd_base\": its limit of open "
			"files (ulimit -Hn of the server) must be larger than that number",
	},
	[MFD_FOUND_TOO_LARGE] = {
		.id = "reserved-too-large",
		.verdict = MFD_CHECK_TARGET,
		.what = "reserved address space larger than the memory",
		.text = "CRIU before 4.3 maps it writable at first, which the kernel refuses there "
			"unless vm.overcommit_memory is 1",
	},
	[MFD_FOUND_32_BIT] = {
		.id = "32-bit",
		.verdict = MFD_CHECK_TARGET,
		.what = "programs of 32 bits",
		.text = "both hosts' CRIU must have been built for them (criu check --feature compat_cr)",
	},
	[MFD_FOUND_THERE_PATH] = {
		.id = "target-path",
		.verdict = MFD_CHECK_TARGET,
		.fatal = MFD_CHECK_MOVE,
		.what = "a path to the target that loses full-sized packets (MTU), which a move consists of",
		.text = "a link between the hosts carries less, and the ICMP message that says so is dropped: "
			"permit it (fragmentation needed, packet too big), or give both hosts what the path "
			"carries (ip link set dev DEV mtu N; ping -M do -s SIZE HOST finds it, N is SIZE + 28), "
			"or let TCP find it (sysctl -w net.ipv4.tcp_mtu_probing=1, on both)",
	},
	[MFD_FOUND_THERE_FILE] = {
		.id = "target-file",
		.verdict = MFD_CHECK_TARGET,
		.fatal = MFD_CHECK_RESTORE,
		.what = "mapped files that the target does not have as they are here",
		.text = "CRIU opens them again by their paths: install the same packages there, copy "
			"them, or put them on storage that both hosts see",
	},
	[MFD_FOUND_THERE_OPEN] = {
		.id = "target-open",
		.verdict = MFD_CHECK_TARGET,
		.what = "open files, and folders, that the target does not have as they are here",
		.text = "CRIU opens them again by their paths, and wants the size that they have by then "
			"unless they are open for appending alone: copy them, put them on storage that "
			"both hosts see, or offer one there (criu-multifd cpr offer SESSION PATH)",
	},
	[MFD_FOUND_THERE_PID] = {
		.id = "target-pid",
		.verdict = MFD_CHECK_TARGET,
		.what = "numbers of processes or threads that are taken on the target just now",
		.text = "restored ones keep their numbers: restore in a pid namespace of their own (serve "
			"--pid-namespace own; unshare --pid), or end what has them there",
	},
	[MFD_FOUND_THERE_UFFD] = {
		.id = "target-userfaultfd",
		.verdict = MFD_CHECK_TARGET,
		.fatal = MFD_CHECK_RESTORE,
		.what = "a target that cannot have a userfaultfd",
		.text = "pages are put into restored tasks by one: its kernel must have it, and a container "
			"that the server runs in must permit the call",
	},
	[MFD_FOUND_THERE_MACHINE] = {
		.id = "target-machine",
		.verdict = MFD_CHECK_TARGET,
		.fatal = MFD_CHECK_RESTORE,
		.what = "a target of another architecture",
		.text = "programs of this one do not run there",
	},
	[MFD_FOUND_THERE_CPU] = {
		.instead = "cpu-cap",
		.id = "target-cpu",
		.verdict = MFD_CHECK_TARGET,
		.what = "features of the processor that the target's does not have",
		.text = "a program that has found one at its start may use it there, and die (SIGILL): "
			"start it with less (GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX512F ...) or choose "
			"another target; CRIU compares processors with --cpu-cap on both hosts (criu "
			"cpuinfo dump here, criu cpuinfo check there), and --cpu-cap=none permits it",
	},
	[MFD_FOUND_THERE_XSAVE] = {
		.instead = "cpu-cap",
		.id = "target-xsave",
		.verdict = MFD_CHECK_TARGET,
		.what = "registers whose saved state is larger on the target (xsave)",
		.text = "the kernel puts more on a signal's stack there: small ones (sigaltstack) may "
			"overflow; criu restore --cpu-cap=fpu refuses it, --cpu-cap=none permits it",
	},
	[MFD_FOUND_THERE_CRIU] = {
		.id = "target-criu",
		.verdict = MFD_CHECK_TARGET,
		.what = "a target whose CRIU is older than the one that dumps here",
		.text = "CRIU reads images of its own release and of earlier ones: install this one's "
			"there, or dump with that one's (CRIU=/path/to/criu)",
	},
	[MFD_FOUND_THERE_LIMIT] = {
		.id = "target-limit",
		.verdict = MFD_CHECK_TARGET,
		.what = "limits of the target that the processes are above: open files, numbers of "
			"processes, threads, mappings",
		.text = "raise it there: ulimit -Hn of the server and fs.nr_open, kernel.pid_max, "
			"kernel.threads-max, vm.max_map_count",
	},
	[MFD_FOUND_THERE_PORT] = {
		.id = "target-port",
		.verdict = MFD_CHECK_TARGET,
		.what = "ports on which something else listens on the target just now",
		.text = "the restored socket cannot listen there: end what has it, or restore in a "
			"network namespace (serve --network-namespace)",
	},
	[MFD_FOUND_THERE_UNSEEN] = {
		.id = "target-unseen",
		.verdict = MFD_CHECK_SLOW,
		.what = "files that the target could not look at in time",
		.text = "a file system does not answer there, and a restore that opens files of it "
			"waits for that, too",
	},
	[MFD_FOUND_THERE_MEMORY] = {
		.id = "target-memory",
		.verdict = MFD_CHECK_TARGET,
		.what = "more memory than is available on the target",
		.text = "make room there, or add swap: pages are received, and then stay in the tasks",
	},
	[MFD_FOUND_THERE_STORE] = {
		.id = "target-store",
		.verdict = MFD_CHECK_TARGET,
		.what = "more memory than the file system of the target's sessions has room for",
		.text = "in mode safe all pages must fit there: make it larger, or use --mode postcopy",
	},
	[MFD_FOUND_RESERVED] = {
		.id = "reserved",
		.verdict = MFD_CHECK_SLOW,
		.what = "reserved address space of hundreds of GiB",
		.text = "CRIU clears a table of 16 bytes for each page of it while the tasks stand still",
	},
	[MFD_FOUND_COPY_ON_WRITE] = {
		.id = "copy-on-write",
		.verdict = MFD_CHECK_SLOW,
		.what = "memory that processes of the tree share by copy-on-write, after fork()",
		.text = "each of them gets its own copy there, and each copy crosses the network",
	},
	[MFD_FOUND_SHARED_MEMORY] = {
		.id = "shared-memory",
		.verdict = MFD_CHECK_SLOW,
		.what = "shared memory of more than 256 MiB",
		.text = "it travels in CRIU's images while the tasks stand still, also in postcopy mode",
	},
};
