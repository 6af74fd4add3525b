/* SPDX-License-Identifier: GPL-2.0-only */
/* The table of findings: what is looked for, what it means for a move, and what to type. */
#ifndef MFD_CHECK_KINDS_H
#define MFD_CHECK_KINDS_H

enum mfd_check_verdict {
	MFD_CHECK_CANNOT, /* no option helps */
	MFD_CHECK_OPTION, /* needs an option of criu's */
	MFD_CHECK_TARGET, /* needs something on the target, which is not known to be there */
	MFD_CHECK_SLOW,	  /* moves, and takes longer than one would think */
	MFD_CHECK_VERDICTS,
};

/* Of what is known of the target: what fails for certain. */
enum mfd_check_fatal {
	MFD_CHECK_RESTORE = 1, /* a restore by its server */
	MFD_CHECK_MOVE,	       /* the move itself */
};

enum mfd_check_id {
	MFD_FOUND_UNMOVABLE,
	MFD_FOUND_SOCKET_KIND,
	MFD_FOUND_CRIU_TOO_OLD,
	MFD_FOUND_MOUNT,
	MFD_FOUND_TRACED,
	MFD_FOUND_HELD,
	MFD_FOUND_NO_LEADER,
	MFD_FOUND_SESSION,
	MFD_FOUND_NAMESPACE,
	MFD_FOUND_LIMITS,
	MFD_FOUND_SYSV,
	MFD_FOUND_PIPES,
	MFD_FOUND_TCP,
	MFD_FOUND_IN_FLIGHT,
	MFD_FOUND_UNIX_NAMED,
	MFD_FOUND_LOCK,
	MFD_FOUND_JOB,
	MFD_FOUND_GHOST,
	MFD_FOUND_LINK,
	MFD_FOUND_UNIX_OUTSIDE,
	MFD_FOUND_PIPE_OUTSIDE,
	MFD_FOUND_TERMINAL,
	MFD_FOUND_LOCK_SHARED,
	MFD_FOUND_KERNEL_OBJECT,
	MFD_FOUND_DEVICE,
	MFD_FOUND_GPU,
	MFD_FOUND_DESCRIPTOR_NUMBER,
	MFD_FOUND_TOO_LARGE,
	MFD_FOUND_32_BIT,
	/* of the target, which was asked */
	MFD_FOUND_THERE_PATH,
	MFD_FOUND_THERE_FILE,
	MFD_FOUND_THERE_OPEN,
	MFD_FOUND_THERE_PID,
	MFD_FOUND_THERE_UFFD,
	MFD_FOUND_THERE_MACHINE,
	MFD_FOUND_THERE_CPU,
	MFD_FOUND_THERE_XSAVE,
	MFD_FOUND_THERE_CRIU,
	MFD_FOUND_THERE_LIMIT,
	MFD_FOUND_THERE_PORT,
	MFD_FOUND_THERE_UNSEEN,
	MFD_FOUND_THERE_MEMORY,
	MFD_FOUND_THERE_STORE,
	MFD_FOUND_RESERVED,
	MFD_FOUND_COPY_ON_WRITE,
	MFD_FOUND_SHARED_MEMORY,
	MFD_CHECK_KINDS,
};

struct mfd_check_kind {
	const char *id; /* in JSON and the manual; never changes */
	enum mfd_check_verdict verdict;
	const char *option;  /* of criu dump, without dashes */
	const char *instead; /* another one that answers it, too */
	int valued;	     /* the option's value is a size: the largest that was found */
	int costs;	     /* something is lost by the option: it is named, never added */
	enum mfd_check_fatal fatal;
	const char *what; /* is looked for */
	const char *text; /* what it means, what to do */
};

extern const struct mfd_check_kind mfd_check_kinds[MFD_CHECK_KINDS];
/* As JSON has it; and as a sentence begins. */
extern const char *const mfd_check_verdict_ids[MFD_CHECK_VERDICTS];
extern const char *const mfd_check_verdict_texts[MFD_CHECK_VERDICTS];

#endif
