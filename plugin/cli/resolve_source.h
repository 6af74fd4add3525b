/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * `resolve --source DIR`: ask the sender of a criu dump, or start one again where none runs any
 * more.
 */
#ifndef MFD_RESOLVE_SOURCE_H
#define MFD_RESOLVE_SOURCE_H

/* what: a word of plugin/source/desk.h.  The exit code; a line on standard error says why. */
int mfd_resolve_source(const char *dir, const char *what);

#endif
