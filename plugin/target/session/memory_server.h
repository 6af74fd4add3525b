/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * --max-memory, the whole server's part: which of its folders are memory, what ended sessions have
 * left there, and the figures that `criu-multifd status` shows (DIR/.memory).
 */
#ifndef MFD_MEMORY_SERVER_H
#define MFD_MEMORY_SERVER_H

#include <stdint.h>

struct mfd_rights;
struct mfd_server;

/* server->max_memory: no limit for all, but each peer has one, which its sessions count for. */
#define MFD_MEMORY_COUNTED (1ULL << 61)

/* The worker's main thread. */
void mfd_memory_server_begin(struct mfd_server *sv); /* before sessions are reloaded */
/* These rights are in force from now on (NULL: none): their limits count for what comes. */
void mfd_memory_server_rights(struct mfd_server *sv, const struct mfd_rights *rights);
void mfd_memory_server_publish(struct mfd_server *sv); /* often */
void mfd_memory_server_unpublish(struct mfd_server *sv);

/* Any thread. */
/* Memory that a session's folder takes when no thread serves it. */
uint64_t mfd_memory_server_left(const struct mfd_server *sv, int dirfd);
/*
 * Count anew what ended sessions hold: an operator removes their folders, and new sessions of the
 * same name do, without a word to this server.  Nonzero: looked.
 */
int mfd_memory_server_sweep(struct mfd_server *sv);

#endif
