/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A source played by hand: it speaks the protocol message by message, so that a test can leave one
 * out, repeat one, or send what no source would send.
 *
 *	source_open()		HELLO, HELLO_OK, every connection, JOINED
 *	source_pages(), ...	packets on a channel (source_data.c)
 *	source_images()		images as CRIU would write them (images.h), SYNC, IMAGES
 *	source_end()		SYNC, END with the counts of all that was sent
 *	source_expect(READY), source_commit()
 *
 * Each function fails the test if the server does not answer as it is expected to.
 */
#ifndef PLAYERS_SOURCE_H
#define PLAYERS_SOURCE_H

#include <stddef.h>
#include <stdint.h>

#include "control.h"
#include "proto/control.pb-c.h"
#include "wire.h"

#define PAGE  4096u
#define BASE  0x10000000ULL /* where the tasks' lazy memory lies */
#define MAXCH 4

struct source {
	const char *name;
	struct mfd_control c;
	struct mfd_conn ch[MAXCH + 1]; /* the last one is the urgent one */
	unsigned channels;
	uint8_t id[16], secret[32];
	uint64_t seq, sync;
	Mfd__End end; /* counts so far */
	uint64_t files, file_bytes;
};

/* Messages, on the control connection (source.c). */
void source_init(struct source *s, const char *name);
void source_close(struct source *s); /* every connection */
/* The next message but PING and PONG; NULL: the connection has ended. */
ProtobufCMessage *source_next(struct source *s, unsigned *type);
ProtobufCMessage *source_expect(struct source *s, unsigned want); /* freed by the caller */
void source_expect_free(struct source *s, unsigned want);
void source_expect_abort(struct source *s, const char *why); /* the reason must contain `why` */
void source_expect_end(struct source *s);
void source_until_ready(struct source *s);
/* A message that has nothing in it: COMMIT, STARTED_OK or PING. */
void source_simple(struct source *s, unsigned type);
void source_commit(struct source *s); /* COMMIT, COMMITTED, and what is on disk then */
/* Close all, connect again and send RESUME. */
void source_resume(struct source *s, const char *outcome);
/* ... of a source that takes each ABORT for evidence. */
void source_resume_old(struct source *s, const char *outcome);
/* As a sender: a connection that ends without an answer is tried again.  The answer is `want`. */
ProtobufCMessage *source_ask(struct source *s, const char *outcome, unsigned want);

/* Connections (source.c). */
extern const struct mfd_conn_security *source_security; /* NULL: plain */
extern const char *source_from; /* an address of the loopback that it connects from; NULL: any */
void source_send_greeting(struct mfd_conn *c, struct mfd_wire_greeting *g); /* in host order */
void source_dial(struct mfd_conn *c);
void source_greet(struct mfd_conn *c, unsigned role, unsigned channel, const uint8_t *id,
		  const uint8_t *secret);
void source_hello_init(Mfd__Hello *h, const char *name, unsigned channels);
void source_send_hello(struct source *s, const Mfd__Hello *h);
void source_take_hello_ok(struct source *s);
void source_keep(struct source *s, const Mfd__HelloOk *ok);
unsigned source_join(struct source *s, struct mfd_conn *c, unsigned role, unsigned channel);
void source_join_refused(struct source *s, unsigned role, unsigned channel, unsigned want);
void source_join_all(struct source *s, int urgent);
void source_hello_refused(const char *name, unsigned channels, unsigned page_size, const char *arch,
			  const char *why);
/* A session with two channels, and the urgent one if `postcopy`. */
void source_open(struct source *s, const char *name, int postcopy);

/* Data (source_data.c). ch: number of the channel, MAXCH: the urgent one. */
/* What each page holds; source_content tells one round's pages from another's. */
extern uint64_t source_content;
void source_fill_page(uint8_t *p, uint32_t task, uint64_t vaddr);
/* One packet of any runs of one task, compressed if `zstd`. */
void source_runs(struct source *s, unsigned ch, uint32_t task, const struct mfd_wire_run *runs,
		 unsigned n, int zstd);
/* One packet of one run; zero: without payload; hash: what it says of itself, 0: the truth. */
void source_run(struct source *s, unsigned ch, uint32_t task, uint64_t vaddr, unsigned pages,
		int zero, uint64_t hash);
void source_pages(struct source *s, unsigned ch, uint32_t task, uint64_t vaddr, unsigned pages);
void source_file_part(struct source *s, unsigned ch, const char *name, const void *data, size_t len,
		      uint64_t off, uint64_t size);
void source_file(struct source *s, unsigned ch, const char *name, const void *data, size_t len);
void source_image(struct source *s, unsigned ch, const char *name); /* one that images_make made */
void source_round(struct source *s, uint32_t n, uint64_t pages);    /* SYNC, ROUND */
void source_images_done(struct source *s);
/* One task with so many lazy pages: its images, and IMAGES. */
void source_images(struct source *s, uint32_t task, uint64_t vaddr, unsigned pages);
void source_end(struct source *s);
/* A session of task 7 up to READY: 16 pages at BASE, of which 8 to 11 are zero. */
void source_to_ready(struct source *s, const char *name);

#endif
