/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An error with its place: library functions return -errno and, where a sentence helps, fill a
 * struct mfd_error that the caller owns.  Nothing below main() prints an error that it also
 * returns.
 */
#ifndef MFD_ERROR_H
#define MFD_ERROR_H

/*
 * Where an error comes from: only one of the link may be answered by another try.  Not each place
 * that can tell does so yet.
 */
enum mfd_error_side {
	MFD_ERROR_UNTOLD, /* the place that found it could not tell */
	MFD_ERROR_OWN,	  /* this host, its tasks, a person here */
	MFD_ERROR_PEER,	  /* the peer's own word, or its nonsense */
	MFD_ERROR_LINK,	  /* the connection */
};

struct mfd_error {
	int code; /* -errno of the first failure, 0 = none */
	enum mfd_error_side side;
	char text[512];
};

/*
 * Record the first failure; later ones are dropped, since they are most often its consequence.
 * Returns `code`, so that `return mfd_error_set(err, -EINVAL, ...)` works.  `err` may be NULL.  Not
 * thread-safe: one owner per object.
 */
int mfd_error_set(struct mfd_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same with ": strerror(-code)" appended. */
int mfd_error_sys(struct mfd_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Note whose error it is, if there is one and that is not known yet.  Returns `code`. */
int mfd_error_blame(struct mfd_error *err, enum mfd_error_side side, int code);
void mfd_error_clear(struct mfd_error *err);
/* The text, or strerror of the code where no text was set. */
const char *mfd_error_text(const struct mfd_error *err);

#endif
