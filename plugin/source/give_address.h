/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Option move-address on the source.  HELLO names the addresses; the source gives them up when no
 * task is left here or those on the target may run, and takes them back in an abort.
 */
#ifndef MFD_ADDRESS_H
#define MFD_ADDRESS_H

#include "netaddr.h"
#include "options.h"

#define MFD_ADDRESS_TEXT (64 + IFNAMSIZ + 1)

unsigned mfd_address_count(const struct mfd_options *o);
/* Fill words, which point into text, for HELLO.  Returns how many. */
size_t mfd_address_hello(const struct mfd_options *o, char **words, char text[][MFD_ADDRESS_TEXT]);
/*
 * Give them up, before the target hears that its tasks may run.  A failure is logged: there is no
 * way back.
 */
void mfd_address_release(const struct mfd_options *o);
/* Take those back that are not here, and announce them. */
void mfd_address_back(const struct mfd_options *o);

#endif
