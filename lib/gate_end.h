/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What opens CRIU's gate and what closes it: the two answers that fit its end of the stream.
 *
 * CRIU reads whole requests until the stream ends.  The end without a byte is success, a byte
 * before the end is failure; the first answer decides, whichever process gives it.  The plugin
 * (plugin/hooks/gate_pair.h) and the sender (plugin/source/gate.h) each have a copy of this end.
 * Both functions may be called in a signal handler.
 */
#ifndef MFD_GATE_END_H
#define MFD_GATE_END_H

/* CRIU's dump succeeds.  0 or -errno. */
int mfd_gate_end_open(int fd);
/* It fails, now or when CRIU comes to the gate.  0 or -errno (-EPIPE: an answer came before). */
int mfd_gate_end_close(int fd);

#endif
