/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * May this peer do what it asks for?  Asked before anything is made of its HELLO, when its source
 * has frozen nothing, and again where the images show what they need.
 */
#ifndef MFD_PERMIT_H
#define MFD_PERMIT_H

#include "owner.h"
#include "proto/control.pb-c.h"

struct mfd_session;

/* 0, or -EPERM with a sentence for the peer: what it may not do, and where that can be changed. */
int mfd_permit_hello(const struct mfd_owner *o, const Mfd__Hello *h, struct mfd_error *err);
/* May it do anything here at all?  0, or -EPERM with a sentence. */
int mfd_permit_probe(const struct mfd_owner *o, struct mfd_error *err);
/* Nonzero: what it has restored by the server may be root on this host. */
int mfd_permit_is_root(const struct mfd_owner *o);
/*
 * A session that is done, of which this is left: is it of another identity, so that it is not
 * removed to make room for one of that name?  No block permits that.
 */
int mfd_permit_is_of_another(const struct mfd_owner *o, const Mfd__SessionEntry *e);
/* May a descriptor that was offered here under this name go to its session? */
int mfd_permit_offer(const struct mfd_owner *o, const char *name);
/* Must what it sends have a user namespace of its own? */
int mfd_permit_wants_user_namespace(const struct mfd_owner *o);

#endif
