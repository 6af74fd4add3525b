/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What `serve --ssh` says when it is ready, one line on standard output, and `migrate` reads there:
 *
 *	criu-multifd-by-ssh 1 VERSION ADDRESS FOLDER
 *
 * FOLDER, where its sessions are, is the rest of the line.  Another number: another meaning.
 */
#ifndef MFD_SSH_WORD_H
#define MFD_SSH_WORD_H

#define MFD_SSH_WORD	"criu-multifd-by-ssh"
#define MFD_SSH_WORD_NR 1

#endif
