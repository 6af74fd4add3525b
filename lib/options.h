/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The one table of options.  It drives --plugin-option=multifd.NAME=VALUE, the environment
 * (CRIU_MULTIFD_NAME, '-' is '_'), the configuration file, command line flags and the manual.  The
 * first source in that order that sets an option wins.
 */
#ifndef MFD_OPTIONS_H
#define MFD_OPTIONS_H

#include <stdint.h>
#include <stdio.h>

#include "compress.h"
#include "error.h"

enum mfd_tristate { MFD_OFF, MFD_ON, MFD_AUTO };
enum mfd_mode { MFD_MODE_SAFE, MFD_MODE_POSTCOPY };
enum mfd_page_dump { MFD_PAGE_DUMP_AUTO, MFD_PAGE_DUMP_CRIU, MFD_PAGE_DUMP_PLUGIN };
enum mfd_precopy_else { MFD_PRECOPY_STOP, MFD_PRECOPY_ABORT };
enum mfd_precopy_check { MFD_CHECK_AUTO, MFD_CHECK_ALWAYS, MFD_CHECK_OFF };
enum mfd_confirm { MFD_CONFIRM_READY, MFD_CONFIRM_RESTORE };

#define MFD_OPTIONS_MAX 48 /* rows of the table, at most */

/* Every option's value; strings are NULL when unset and owned by the struct. */
struct mfd_options {
	char *target;			 /* HOST:PORT; NULL = plugin inert */
	char *session;			 /* name; NULL = chosen from host name, pid and time */
	uint32_t channels;		 /* 1..64, default 4 */
	enum mfd_tristate zerocopy;	 /* default auto */
	enum mfd_tristate checksum;	 /* on or off, default on */
	uint32_t packet_size;		 /* bytes, default 1 MiB */
	enum mfd_compress_kind compress; /* default off */
	int32_t compress_level;		 /* 0 = the library's own */
	uint64_t max_bandwidth;		 /* bytes per second over all channels, 0 = no limit */
	char *congestion;		 /* congestion.h; NULL = auto */
	enum mfd_mode mode;		 /* default safe */
	enum mfd_confirm confirm;	 /* default ready */
	/* which process lists the pages of large mappings; the plugin decides what auto means */
	enum mfd_page_dump page_dump;
	/* ms, default 60000: confirm = restore and the target has not restored by then = abort */
	uint32_t restore_timeout;
	/* rounds of pages while the tasks run; auto: if they are large enough */
	enum mfd_tristate precopy;
	uint32_t downtime_limit;  /* ms: rounds go on until a freeze would bring no more */
	uint32_t max_rounds;	  /* 1..1000 */
	uint32_t precopy_timeout; /* ms for all rounds */
	enum mfd_precopy_else precopy_else; /* when the tasks write as fast as pages are sent */
	enum mfd_precopy_check precopy_check;
	uint32_t tree; /* pid of the first process, where CRIU's command line has none; 0 */
	/* options that the target shall give criu restore: NAME[=VALUE][,...] */
	char *restore_option;
	/* addresses that move along (netaddr.h): ADDR/LEN@DEV[:TARGETDEV][,...] */
	char *move_address;
	uint32_t connect_timeout; /* ms, default 5000 */
	/* ms, default 600000: how long to wait for the target's memory; 0 = not at all */
	uint32_t queue_timeout;
	uint32_t stall_timeout; /* ms, default 10000: nothing moved for so long = broken */
	uint32_t log_level;	/* enum mfd_log_level */
	/* folder of certificates (tls.h); NULL = the default one, if it is there; "off" */
	char *tls_dir;
	char *tls_hostname; /* in the target's certificate; NULL = the host of `target` */
	char *tls_psk;	    /* file with the pre-shared key; NULL = none */
	char *tls_psk_id;   /* which one of it; NULL = the only one */
	/* of the sender; NULL = multifd-send.log in CRIU's image directory's work place */
	char *log_file;
	/* path of criu-multifd that the plugin starts; NULL = found beside the plugin */
	char *program;
	char *cpr; /* which descriptors come along: NULL = auto, "off", PATTERN[,PATTERN...] */
	/* unix socket of the keeper of open file descriptions; NULL = none at dump */
	char *keeper;
	uint8_t from[MFD_OPTIONS_MAX]; /* enum mfd_option_from of each row of the table */
};

enum mfd_option_from {
	MFD_FROM_DEFAULT,
	MFD_FROM_FLAG,
	MFD_FROM_FILE,
	MFD_FROM_ENV,
	MFD_FROM_PLUGIN
};

struct mfd_option_type;

struct mfd_option_desc {
	const char *name;		    /* "packet-size" */
	const char *arg;		    /* "BYTES" for the manual */
	const char *help;		    /* one line for --help and the manual */
	const char *dflt;		    /* as text */
	const struct mfd_option_type *type; /* option_types.h */
	size_t offset;			    /* of the field in struct mfd_options */
	long min, max;
};

extern const struct mfd_option_desc mfd_options_table[];
extern const unsigned mfd_options_count;

void mfd_options_init(struct mfd_options *o); /* defaults */
void mfd_options_free(struct mfd_options *o);

/* The option whose name is most like `name`, NULL when none is; for "did you mean". */
const char *mfd_options_closest(const char *name);

/*
 * Set one option from one source unless a source that wins over `from` has set it already.  `where`
 * is what the error names: "/etc/criu-multifd.conf:12", "CRIU_MULTIFD_CHANNELS", "--channels".
 * Unknown names are -EINVAL with the closest known name suggested.
 */
int mfd_options_set(struct mfd_options *o, const char *name, const char *value,
		    enum mfd_option_from from, const char *where, struct mfd_error *err);
/*
 * CRIU_MULTIFD_* of the environment; CRIU_MULTIFD_CONFIG and CRIU_MULTIFD_SENDER_* are not options
 * and skipped.
 */
int mfd_options_from_env(struct mfd_options *o, struct mfd_error *err);
/*
 * `name = value` lines, '#' comments.  path NULL: the file CRIU_MULTIFD_CONFIG names (must exist),
 * else /etc/criu-multifd.conf (may be absent).
 */
int mfd_options_from_file(struct mfd_options *o, const char *path, struct mfd_error *err);
/*
 * Take `--NAME VALUE`, `--NAME=VALUE` at argv[*i]: 1 = taken (and *i points to its last word), 0 =
 * not one of the table.
 */
int mfd_options_from_flag(struct mfd_options *o, int argc, char **argv, int *i,
			  struct mfd_error *err);
/* After all sources: combinations that make no sense (zerocopy = on with compression ...). */
int mfd_options_check(const struct mfd_options *o, struct mfd_error *err);
/*
 * name = value lines of everything set to other than its default, for handing an effective
 * configuration to a child.
 */
int mfd_options_write(const struct mfd_options *o, FILE *f);
void mfd_options_help(FILE *f);

#endif
