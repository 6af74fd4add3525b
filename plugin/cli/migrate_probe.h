/* SPDX-License-Identifier: GPL-2.0-only */
/* What PROBED says of the target's host, as findings. */
#ifndef MFD_MIGRATE_PROBE_H
#define MFD_MIGRATE_PROBE_H

#include "migrate.h"
#include "proto/control.pb-c.h"

/* Once: these are of the host, whatever was asked. */
void mfd_migrate_probe_host(const struct mfd_migrate *m, struct mfd_check *c, const Mfd__Probed *r);
/* The ports that were asked for: those that are taken. */
void mfd_migrate_probe_ports(struct mfd_check *c, const Mfd__Probed *r);

#endif
