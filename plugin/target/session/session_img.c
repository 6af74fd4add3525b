// SPDX-License-Identifier: GPL-2.0-only
/* What session.img says, and when it is written. */
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "figures.h"
#include "log.h"
#include "memory.h"
#include "session.h"
#include "session_file.h"

void mfd_session_entry(struct mfd_session *s, Mfd__SessionEntry *e)
{
	mfd__session_entry__init(e);
	e->name = s->name;
	e->format = MFD_SESSION_FILE_FORMAT;
	e->state = s->state;
	e->error = s->error[0] ? s->error : NULL;
	e->has_in_doubt = 1;
	e->in_doubt = s->in_doubt;
	e->source = s->source[0] ? s->source : NULL;
	e->has_session_id = e->has_secret = 1;
	e->session_id.data = s->id;
	e->session_id.len = sizeof(s->id);
	e->secret.data = s->secret;
	e->secret.len = sizeof(s->secret);
	mfd_plan_entry(s->plan, e);
	e->has_channels = e->has_packet_size = e->has_server_pid = 1;
	e->channels = s->limits.channels;
	e->packet_size = s->limits.packet_size;
	e->restore_option = s->restore_options;
	e->n_restore_option = s->n_restore_options;
	e->move_address = s->move_addresses;
	e->n_move_address = s->n_move_addresses;
	e->has_restored_pid = s->restore.root > 0;
	e->restored_pid = (uint32_t)s->restore.root;
	e->server_pid = (uint32_t)getppid(); /* the supervisor: what a person would signal */
	pthread_mutex_lock(&s->lock);
	e->has_max_bandwidth = s->setting.known;
	e->max_bandwidth = s->setting.max_bandwidth;
	s->setting.news = 0;
	pthread_mutex_unlock(&s->lock);
	mfd_figures_entry(s, e);
	mfd_memory_entry(s, e);
}

int mfd_session_store(struct mfd_session *s, int sync)
{
	Mfd__SessionEntry e;
	int ret;

	mfd_session_entry(s, &e);
	ret = mfd_session_file_store(s->dirfd, &e, sync);
	if (ret)
		mfd_log_error("%s: session.img: %s", s->name, strerror(-ret));
	return ret;
}

void mfd_session_store_moving(struct mfd_session *s)
{
	Mfd__SessionEntry e;
	uint64_t moved;

	if (!s->joined_said && s->state == MFD__SESSION_STATE__RECEIVING)
		return;
	mfd_session_entry(s, &e);
	moved = e.wire_bytes + e.installed_pages + e.faults;
	if (moved != s->moved)
		mfd_session_file_store(s->dirfd, &e, 0);
	s->moved = moved;
}
