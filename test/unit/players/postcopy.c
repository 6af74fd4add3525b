// SPDX-License-Identifier: GPL-2.0-only
/* The steps of a source in postcopy. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "criu.h"
#include "disk.h"
#include "postcopy.h"

void source_to_restorable(struct source *s, const char *name)
{
	source_open(s, name, 1);
	source_pages(s, 0, 7, BASE, 2);
	source_images(s, 7, BASE, 16);
	source_expect_free(s, MFD_WIRE_IMAGES_OK);
	assert_int_equal(disk_state(name, NULL, 0), MFD__SESSION_STATE__RESTORABLE);
}

pid_t source_restored(struct source *s, int hold)
{
	pid_t pid = criu_restore(s->name, 16, 0, hold, 7);

	source_expect_free(s, MFD_WIRE_STARTED);
	source_simple(s, MFD_WIRE_STARTED_OK);
	return pid;
}

uint64_t source_answer_fault(struct source *s)
{
	Mfd__Fault *f = (Mfd__Fault *)source_expect(s, MFD_WIRE_FAULT);
	uint64_t vaddr = f->range->vaddr;

	assert_int_equal(f->range->task, 7);
	protobuf_c_message_free_unpacked(&f->base, NULL);
	criu_wait_restored(s->name);
	source_pages(s, MAXCH, 7, vaddr, 1);
	return vaddr;
}

pid_t source_to_running(struct source *s, const char *name, int hold)
{
	pid_t pid;

	source_to_restorable(s, name);
	pid = source_restored(s, hold);
	source_answer_fault(s);
	return pid;
}

void source_come_back(struct source *s)
{
	Mfd__Need *n;
	size_t i;

	source_resume(s, "continue");
	source_expect_free(s, MFD_WIRE_RESUME_OK);
	mfd__end__init(&s->end);
	s->sync = 0;
	source_join_all(s, 1);
	n = (Mfd__Need *)source_expect(s, MFD_WIRE_NEED);
	assert_true(n->n_ranges >= 1);
	for (i = 0; i < n->n_ranges; i++)
		source_pages(s, 0, 7, n->ranges[i]->vaddr, (unsigned)n->ranges[i]->pages);
	protobuf_c_message_free_unpacked(&n->base, NULL);
	source_end(s);
	source_until_ready(s);
	source_commit(s);
	source_close(s);
}
