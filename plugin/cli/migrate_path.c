// SPDX-License-Identifier: GPL-2.0-only
/*
 * Whether full-sized packets cross the path to the target and back.
 *
 * A link that carries less than the hosts' own, and whose ICMP messages are dropped, lets short
 * packets through alone: the session would open, and the move stop once the tasks are frozen.  So
 * many packets' worth is sent each way, each within a time.  What does not arrive is blamed on the
 * path only if a short question on another connection is answered right after it, and the first
 * connection has still not had one full-sized packet: a slow or busy target is something else.
 */
#include <errno.h>
#include <stdio.h>

#include "migrate_path.h"

#define BYTES	 (60U << 10) /* more than one packet on any link but loopback */
#define LEAST_MS 2000	     /* TCP sends again after 0.2 s, 0.4 s, ...: less proves nothing */
/*
 * Where TCP looks for the path's MTU itself (net.ipv4.tcp_mtu_probing), it has found it by then.
 * That is the sender's to do, and the target does not say whether it does; a target waits for a
 * whole question for less time.
 */
#define FIND_MS 8000

static int finds_mtu(void)
{
	FILE *f = fopen("/proc/sys/net/ipv4/tcp_mtu_probing", "re");
	int how = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%d", &how) != 1)
		how = 0;
	fclose(f);
	return how != 0;
}

static int round_trip(struct mfd_migrate_talk *t, const Mfd__Probe *p, unsigned ms)
{
	unsigned usual = t->ms;
	Mfd__Probed *r = NULL;
	int ret;

	t->ms = ms;
	ret = mfd_migrate_talk_ask(t, p);
	ret = ret ? ret : mfd_migrate_talk_hear(t, &r, NULL);
	t->ms = usual;
	mfd_migrate_talk_free(&r);
	return ret;
}

static int send_full(struct mfd_migrate_talk *t, uint32_t n)
{
	static const uint8_t padding[BYTES];
	Mfd__Probe p = MFD__PROBE__INIT;

	p.has_padding = 1;
	p.padding = (ProtobufCBinaryData){ n, (uint8_t *)(uintptr_t)padding };
	return round_trip(t, &p, t->ms);
}

static int have_full(struct mfd_migrate_talk *t)
{
	Mfd__Probe p = MFD__PROBE__INIT;
	int ret;

	p.has_answer_padding = 1;
	p.answer_padding = BYTES;
	t->awaits_full = 1;
	ret = round_trip(t, &p, t->ms < FIND_MS ? FIND_MS : t->ms);
	t->awaits_full = ret != 0;
	return ret;
}

int mfd_migrate_path_try(struct mfd_migrate_talk *t, uint32_t padding_max)
{
	int ret;

	if (!padding_max || t->ms < LEAST_MS)
		return 0;
	ret = finds_mtu() ? 0 : send_full(t, padding_max < BYTES ? padding_max : BYTES);
	return ret ? ret : have_full(t);
}

/* ---- no answer ---- */

/* What is answered in a few bytes; a target that is too old for that says more. */
static int ask_short(struct mfd_migrate_talk *t)
{
	Mfd__Probe p = MFD__PROBE__INIT;

	p.has_answer_padding = 1;
	return round_trip(t, &p, t->ms);
}

/* bool: nothing of the latest question's bytes has crossed. */
static int is_lost(const struct mfd_migrate_talk *t)
{
	struct mfd_tcppath now;

	return t->before.mss && !mfd_conn_path(&t->control.conn, &now) &&
	       mfd_tcppath_loses(&t->before, &now);
}

static int is_awaited(const struct mfd_migrate_talk *t)
{
	struct mfd_tcppath now;

	return t->awaits_full && !mfd_conn_path(&t->control.conn, &now) &&
	       mfd_tcppath_starves(&t->before, &now);
}

/* The first answer alone may be a full-sized packet: then that is asked for by itself. */
static int loses_answers(struct mfd_migrate_talk *first, struct mfd_migrate_talk *other)
{
	return first->awaits_full ? is_awaited(first) :
				    have_full(other) == -ETIMEDOUT && is_awaited(other);
}

static void add(const struct mfd_migrate_talk *t, struct mfd_check *c, const char *way)
{
	const struct mfd_tcppath *p = &t->before;

	mfd_check_add(
		c, MFD_FOUND_THERE_PATH, p->mtu,
		"full-sized packets %s %s are lost, and short ones arrive (%s here lets packets "
		"have %u bytes)",
		way, t->m->o.target, *p->device ? p->device : "the device", p->mtu);
}

int mfd_migrate_path_blame(struct mfd_migrate_talk *t, struct mfd_check *c)
{
	struct mfd_error untold = { 0 };
	struct mfd_migrate_talk other;
	int lost = is_lost(t), ret;

	if (!t->before.mss || t->ms < LEAST_MS)
		return -ETIMEDOUT;
	ret = mfd_migrate_talk_open(&other, t->m, t->ms, &untold);
	ret = ret ? ret : ask_short(&other);
	if (!ret && lost && is_lost(t))
		add(t, c, "to");
	else if (!ret && !lost && loses_answers(t, &other))
		add(t, c, "from");
	else
		ret = -ETIMEDOUT;
	/* the target's threads are not to go on sending */
	mfd_conn_reset(&t->control.conn);
	mfd_conn_reset(&other.control.conn);
	mfd_migrate_talk_close(&other);
	return ret;
}
