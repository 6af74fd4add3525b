/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * On-disk images: CRIU's framing (magic words, then size-prefixed protobuf entries) for files of
 * ours and for those files of CRIU that the target must understand.  FORMAT.md is normative for
 * ours.
 *
 * Every length is checked before memory is taken: an entry is at most MFD_IMAGE_MAX_ENTRY bytes and
 * never longer than the rest of the file.
 */
#ifndef MFD_IMAGE_H
#define MFD_IMAGE_H

#include <stdint.h>
#include <stddef.h>
#include <sys/types.h>

#include <protobuf-c/protobuf-c.h>

#define MFD_IMAGE_MAX_ENTRY (64U << 20)

/* What is known about a kind of image. */
struct mfd_image_kind {
	uint32_t magic;				 /* the word that says the kind */
	const char *name;			 /* as CRIU and `show` call it */
	const ProtobufCMessageDescriptor *head;	 /* of the first entry where it differs; or NULL */
	const ProtobufCMessageDescriptor *entry; /* NULL: only its name is known */
	int whole; /* the messages have all fields, so that `show` can print them */
};

/* The kind of that magic word; NULL: not known. */
const struct mfd_image_kind *mfd_image_kind(uint32_t type_magic);

struct mfd_image; /* a reader over one file */

/*
 * Sentences in *why name the file, and the offset where there is one; they are valid until this
 * thread's next call into images/ and are not freed.  `why` may be NULL.  They are set for every
 * error but -ENOMEM.
 */

/*
 * Open dirfd/name and check its magic: `type_magic` is the second word after CRIU's common (or
 * service) magic; for the inventory it is the first.  0, -ENOENT, -EBADMSG (wrong magic; *why a
 * sentence), -EMFILE ...
 */
int mfd_image_open(int dirfd, const char *name, uint32_t type_magic, struct mfd_image **img,
		   const char **why);
/*
 * The same for an image of any kind; *type_magic is what was found.  -EBADMSG when it does not
 * begin as images do.
 */
int mfd_image_open_any(int dirfd, const char *name, struct mfd_image **img, uint32_t *type_magic,
		       const char **why);
void mfd_image_close(struct mfd_image *img);
/*
 * Next entry as a message of `d`: 1 and *msg (caller frees with protobuf_c_message_free_unpacked),
 * 0 at the end, -EBADMSG.
 */
int mfd_image_next(struct mfd_image *img, const ProtobufCMessageDescriptor *d,
		   ProtobufCMessage **msg, const char **why);
/*
 * Call each() with every entry of dirfd/name, an image whose kind is known, its head included; the
 * message's descriptor says which it is.  each() may keep the message and set *msg to NULL, else it
 * is freed.  A result other than 0 ends the reading and is returned.  Errors of opening and of
 * mfd_image_next.
 */
int mfd_image_each(int dirfd, const char *name, uint32_t type_magic,
		   int (*each)(void *ctx, ProtobufCMessage **msg), void *ctx, const char **why);
/*
 * The first entry of dirfd/name alone: 1 and *msg, which the caller frees; 0: there is none; or
 * -errno.
 */
int mfd_image_first(int dirfd, const char *name, uint32_t type_magic, ProtobufCMessage **msg,
		    const char **why);
uint64_t mfd_image_offset(const struct mfd_image *img); /* bytes read so far, for error messages */
uint64_t mfd_image_size(const struct mfd_image *img);	/* of the whole file */

/*
 * Replace dirfd/name by an image with n entries: temporary name, fsync, rename, fsync of the
 * folder.
 */
int mfd_image_write(int dirfd, const char *name, uint32_t common_magic, uint32_t type_magic,
		    const ProtobufCMessage *const *entries, size_t n);
/*
 * The same with a choice: without `sync` readers still see the old or the new file, but a crash of
 * the host may lose both.
 */
int mfd_image_replace(int dirfd, const char *name, uint32_t common_magic, uint32_t type_magic,
		      const ProtobufCMessage *const *entries, size_t n, int sync);

/*
 * The same for entries that are made one at a time: next() gives 1 and *msg, which it may reuse
 * when called again; 0 at the end; or -errno, which leaves the old file and is returned.
 */
int mfd_image_replace_each(int dirfd, const char *name, uint32_t common_magic, uint32_t type_magic,
			   int (*next)(void *ctx, const ProtobufCMessage **msg), void *ctx,
			   int sync);

#define MFD_IMAGE_COMMON_MAGIC	0x54564319U /* CRIU: most images */
#define MFD_IMAGE_SERVICE_MAGIC 0x55105940U /* CRIU: service images (stats); ours, too */
#define MFD_IMAGE_INVENTORY	0x58313116U
#define MFD_IMAGE_PSTREE	0x50273030U
#define MFD_IMAGE_PAGEMAP	0x56084025U
#define MFD_IMAGE_MM		0x57492820U
#define MFD_IMAGE_CORE		0x55053847U
#define MFD_IMAGE_FILES		0x56303138U
#define MFD_IMAGE_FDINFO	0x56213732U
#define MFD_IMAGE_IDS		0x54432030U
#define MFD_IMAGE_TTY_INFO	0x59453036U
#define MFD_IMAGE_SESSION	0x4d465345U /* ours: session.img */
#define MFD_IMAGE_CPR		0x4d464350U /* ours: cpr-fds.img */
#define MFD_IMAGE_SOURCE	0x4d465352U /* ours: .multifd-send.img */

/* pagemap entry flags (CRIU's PE_*) */
#define MFD_PE_PARENT  (1U << 0)
#define MFD_PE_LAZY    (1U << 1)
#define MFD_PE_PRESENT (1U << 2)

/* mapping status flag (CRIU's VMA_AREA_GUARD) */
#define MFD_VMA_GUARD (1U << 16)

/* A lazy range of a task, split where mappings end: UFFDIO_COPY works inside one mapping only. */
struct mfd_lazy_range {
	uint64_t start; /* bytes */
	uint64_t pages;
};

/*
 * The lazy ranges of pagemap-TASK.img cut at the mappings of mm-TASK.img, ascending, neighbours in
 * one mapping joined.  *ranges is to be freed (NULL with *n 0).  -ENOENT when the task has no
 * pagemap image (a zombie); -EBADMSG with *why.  Reads nr_pages from field 5 and, in images before
 * CRIU 4.2, from field 2.
 */
int mfd_image_lazy_ranges(int dirfd, uint32_t task, struct mfd_lazy_range **ranges, size_t *n,
			  const char **why);

/*
 * Pids (as in pagemap-PID.img) of all tasks in pstree.img; zombies included.  *pids is to be freed.
 */
int mfd_image_tasks(int dirfd, uint32_t **pids, size_t *n, const char **why);

/*
 * Nonzero when the task was stopped (by a signal) when it was dumped; 0 also when its image cannot
 * be read.
 */
int mfd_image_was_stopped(int dirfd, uint32_t task);

/*
 * One image file as JSON on `out` (struct json_object from json-c is used inside): every entry of a
 * known image, magic and size of an unknown one.  0, or -EBADMSG with *why and what was readable
 * printed before.
 */
int mfd_image_show(int dirfd, const char *name, int out, const char **why);

#endif
