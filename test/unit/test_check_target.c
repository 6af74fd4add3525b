// SPDX-License-Identifier: GPL-2.0-only
/* What a target says of its host, as findings: each by itself, and none of a host like this one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "hostcpu.h"
#include "migrate_probe.h"

static struct mfd_migrate m;
static struct mfd_check c;
static struct mfd_hostcpu here;

/* What the processes have, and a target that has as much. */
static void set_up(Mfd__Probed *r)
{
	static const uint64_t most[MFD_WANT_LIMITS] = { 7, 1024, 4194303, 12, 900 };

	mfd_check_free(&c);
	c = (struct mfd_check){ .root = 1, .with_restore = 1, .memory = 4096 };
	for (size_t i = 0; i < MFD_WANT_LIMITS; i++)
		c.wants.limit[i].most = most[i];
	m.criu = (struct mfd_hostcriu){ .major = 4, .minor = 2, .patch = 1 };
	*r = (Mfd__Probed)MFD__PROBED__INIT;
	r->criu_version = "4.2.1";
	r->kernel = "6.1";
	r->machine = here.machine;
	r->cpu_flags = here.flags;
	r->has_xfeatures = r->has_xsave_size = 1;
	r->xfeatures = here.xfeatures;
	r->xsave_size = here.xsave_size;
	r->has_descriptors = r->has_pid_max = r->has_threads_free = r->has_map_max = 1;
	r->descriptors = 1024;
	r->pid_max = 4194304;
	r->threads_free = 12;
	r->map_max = 900;
}

/* The ids of what is found: one, or "". */
static const char *found(const Mfd__Probed *r)
{
	const char *id = "";

	mfd_migrate_probe_host(&m, &c, r);
	for (enum mfd_check_id i = 0; i < MFD_CHECK_KINDS; i++) {
		if (!c.found[i].count)
			continue;
		assert_string_equal(id, "");
		id = mfd_check_kinds[i].id;
		print_message("# %s: %s\n", id, c.found[i].example[0]);
	}
	return id;
}

static void nothing_is_lacking(void **state)
{
	Mfd__Probed r, old = MFD__PROBED__INIT;

	(void)state;
	set_up(&r);
	assert_string_equal(found(&r), "");
	r.criu_version = "4.3.0";
	assert_string_equal(found(&r), "");
	assert_string_equal(c.there.criu, "4.3.0");
	set_up(&r);
	assert_string_equal(found(&old), ""); /* an older one says none of that */
}

static void processor(void **state)
{
	char text[64];
	Mfd__Probed r;

	(void)state;
	set_up(&r);
	r.machine = "vax";
	assert_string_equal(found(&r), "target-machine");
	assert_true(mfd_check_kinds[MFD_FOUND_THERE_MACHINE].fatal);
	assert_int_equal(mfd_hostcpu_lacking("fpu", "fpu sse2", text, sizeof(text)), 0);
	if (!here.xsave_size) {
		print_message("# skip: hardware lacks xsave\n");
		skip();
	}
	set_up(&r);
	r.cpu_flags = "fpu vme";
	assert_string_equal(found(&r), "target-cpu");
	set_up(&r);
	r.xfeatures &= ~2ULL;
	assert_string_equal(found(&r), "target-cpu");
	set_up(&r);
	r.xsave_size += 64;
	assert_string_equal(found(&r), "target-xsave");
	set_up(&r);
	r.xsave_size -= 64;
	assert_string_equal(found(&r), "");
	assert_int_equal(mfd_hostcpu_lacking(" avx2 vmx avx512f erms sse4_1", "avx sse4_1", text,
					     sizeof(text)),
			 2);
	assert_string_equal(text, "avx2 avx512f");
	assert_int_equal(mfd_hostcpu_lacking("avx avx2", "avx2", text, 3), 1);
	assert_string_equal(text, ""); /* it does not fit */
}

static void programs(void **state)
{
	static const char *const older[] = { "4.1.1", "3.19.0" };
	Mfd__Probed r;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		set_up(&r);
		r.criu_version = (char *)older[i];
		assert_string_equal(found(&r), "target-criu");
	}
	set_up(&r);
	r.criu_version = "4.2.0"; /* the same images */
	assert_string_equal(found(&r), "");
	r.kernel = "6.1\033[31m";
	found(&r);
	assert_string_equal(c.there.kernel, "6.1?[31m");
}

static void limits(void **state)
{
	Mfd__Probed r;

	(void)state;
	for (enum mfd_want_limit i = 0; i < MFD_WANT_LIMITS; i++) {
		set_up(&r);
		c.wants.limit[i].most = 5000000;
		assert_string_equal(found(&r), "target-limit");
		assert_int_equal(c.found[MFD_FOUND_THERE_LIMIT].value, 5000000);
	}
	set_up(&r);
	c.with_restore = 0; /* another process restores, which may have more */
	c.wants.limit[MFD_WANT_DESCRIPTOR].most = c.wants.limit[MFD_WANT_NOFILE].most = 5000;
	assert_string_equal(found(&r), "");
}

static void ports(void **state)
{
	struct mfd_want_port want[] = { { .len = 4, .port = 80, .pid = 9 },
					{ .len = 16, .port = 81, .pid = 9 } };
	uint32_t taken[] = { 1, 2 };
	Mfd__Probed r;

	(void)state;
	set_up(&r);
	c.wants.port = want;
	c.wants.n_ports = 2;
	r.n_port = 2; /* one of which was never asked for */
	r.port = taken;
	mfd_migrate_probe_ports(&c, &r);
	assert_int_equal(c.found[MFD_FOUND_THERE_PORT].count, 1);
	assert_string_equal(c.found[MFD_FOUND_THERE_PORT].example[0],
			    "process 9 listens at :: port 81");
	c.wants.port = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_lacking),
		cmocka_unit_test(processor),
		cmocka_unit_test(programs),
		cmocka_unit_test(limits),
		cmocka_unit_test(ports),
	};
	int ret;

	mfd_hostcpu(&here);
	ret = cmocka_run_group_tests(tests, NULL, NULL);
	mfd_hostcpu_free(&here);
	return ret;
}
