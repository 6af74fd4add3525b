/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The verbs of criu-multifd; each lives in its own component, plugin/cli/main.c holds the table
 * that calls them.
 */
#ifndef MFD_COMMAND_H
#define MFD_COMMAND_H

#include <stdio.h>

/* argv[0] is the verb; the result is the exit code. */
int mfd_send_main(int argc, char **argv);    /* plugin/source */
int mfd_serve_main(int argc, char **argv);   /* plugin/target */
int mfd_restore_main(int argc, char **argv); /* plugin/target */
int mfd_keeper_main(int argc, char **argv);  /* plugin/target */
int mfd_cpr_main(int argc, char **argv);     /* plugin/cli */
int mfd_keys_main(int argc, char **argv);    /* plugin/cli */
int mfd_wait_main(int argc, char **argv);    /* plugin/cli */
int mfd_status_main(int argc, char **argv);
int mfd_show_main(int argc, char **argv);
int mfd_abort_main(int argc, char **argv);
int mfd_resolve_main(int argc, char **argv);
int mfd_set_main(int argc, char **argv);
int mfd_migrate_main(int argc, char **argv);
int mfd_check_main(int argc, char **argv);
int mfd_drain_main(int argc, char **argv);

/* plugin/target: criu-multifd-peers(5) as man(7) source */
void mfd_peers_page(FILE *out);

#define MFD_EXIT_OK	 0
#define MFD_EXIT_FAILED	 1
#define MFD_EXIT_TIMEOUT 2
#define MFD_EXIT_DOUBT	 3 /* migrate: released here, and the target could not be told */
#define MFD_EXIT_REFUSED 4 /* migrate: something here does not allow it; nothing was begun */
/* migrate: the target cannot be reached or refuses; nothing was frozen */
#define MFD_EXIT_TARGET	   5
#define MFD_EXIT_BOTH	   6   /* migrate: both copies run */
#define MFD_EXIT_USAGE	   64  /* as sysexits.h */
#define MFD_EXIT_INTERRUPT 130 /* migrate: aborted by Ctrl-C; as a shell says it */

/* What each verb, and the server, says of a session that does not exist: name, DIR. */
#define MFD_NO_SESSION "no session '%.255s' in %.200s"

/* Where sessions live when --dir is not given. */
#define MFD_DEFAULT_DIR "/run/criu-multifd"

#endif
