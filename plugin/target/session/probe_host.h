/* SPDX-License-Identifier: GPL-2.0-only */
/* What PROBED says of this host. */
#ifndef MFD_PROBE_HOST_H
#define MFD_PROBE_HOST_H

#include "proto/control.pb-c.h"

struct mfd_server;

/* Fill in what is known; strings are to be freed by mfd_probe_host_free. */
void mfd_probe_host(Mfd__Probed *r, const struct mfd_server *sv);
void mfd_probe_host_free(Mfd__Probed *r);
/* Which of the ports are taken in this network namespace; r->port is to be freed. 0 or -ENOMEM. */
int mfd_probe_ports(Mfd__Probed *r, const struct mfd_server *sv, const Mfd__Probe *m);

#endif
