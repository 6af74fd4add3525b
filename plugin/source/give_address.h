/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * move-address on the source: told to the target at HELLO, given up when no task is left here or
 * the target's may run, taken back by an abort.
 */
#ifndef MFD_ADDRESS_H
#define MFD_ADDRESS_H

#include "netaddr.h"
#include "options.h"

#define MFD_ADDRESS_TEXT (64 + IFNAMSIZ + 1)

unsigned mfd_address_count(const struct mfd_options *o);
/* For HELLO: words point into text; how many. */
size_t mfd_address_hello(const struct mfd_options *o, char **words, char text[][MFD_ADDRESS_TEXT]);
/*
 * Before the target is told that its tasks may run.  What cannot be done is logged: there is no way
 * back.
 */
void mfd_address_release(const struct mfd_options *o);
/* What is missing comes back and is announced. */
void mfd_address_back(const struct mfd_options *o);

#endif
