// SPDX-License-Identifier: GPL-2.0-only
/* What check has found, for people and as JSON. */
#include <stdio.h>

#include "check_report.h"
#include "size.h"

static void add_text(struct json_object *j, const char *key, const char *text)
{
	json_object_object_add(j, key, text && *text ? json_object_new_string(text) : NULL);
}

static struct json_object *finding(const struct mfd_check *c, enum mfd_check_id id)
{
	const struct mfd_check_kind *k = &mfd_check_kinds[id];
	const struct mfd_check_finding *f = &c->found[id];
	struct json_object *j = json_object_new_object(), *list = json_object_new_array();
	char option[MFD_CHECK_OPTION_TEXT];

	add_text(j, "id", k->id);
	add_text(j, "verdict", mfd_check_verdict_ids[k->verdict]);
	json_object_object_add(j, "open", json_object_new_boolean(mfd_check_is_open(c, id)));
	add_text(j, "option", mfd_check_option(c, id, option));
	json_object_object_add(j, "given", json_object_new_boolean(f->given));
	json_object_object_add(j, "added", json_object_new_boolean(f->added));
	json_object_object_add(j, "count", json_object_new_uint64(f->count));
	for (unsigned i = 0; i < f->count && i < MFD_CHECK_EXAMPLES; i++)
		json_object_array_add(list, json_object_new_string(f->example[i]));
	json_object_object_add(j, "examples", list);
	add_text(j, "text", k->text);
	return j;
}

/* null: it was not asked */
static struct json_object *target(const struct mfd_check *c)
{
	struct json_object *j = c->there.kernel[0] ? json_object_new_object() : NULL;

	if (!j)
		return NULL;
	add_text(j, "kernel", c->there.kernel);
	add_text(j, "criu", c->there.criu);
	add_text(j, "criu_multifd", c->there.program);
	return j;
}

void mfd_check_json(struct json_object *j, const struct mfd_check *c)
{
	struct json_object *findings = json_object_new_array(), *options = json_object_new_array();
	char option[MFD_CHECK_OPTION_TEXT];

	for (enum mfd_check_id id = 0; id < MFD_CHECK_KINDS; id++) {
		if (!c->found[id].count)
			continue;
		json_object_array_add(findings, finding(c, id));
		if (mfd_check_kinds[id].option && !c->found[id].given && !mfd_check_kinds[id].costs)
			json_object_array_add(
				options, json_object_new_string(mfd_check_option(c, id, option)));
	}
	json_object_object_add(j, "pid", json_object_new_int(c->root));
	json_object_object_add(j, "processes", json_object_new_uint64(c->tree.n));
	json_object_object_add(j, "moves", json_object_new_boolean(mfd_check_moves(c)));
	json_object_object_add(j, "options", options);
	json_object_object_add(j, "findings", findings);
	json_object_object_add(j, "target", target(c));
	json_object_object_add(j, "bytes_memory", json_object_new_uint64(c->memory));
	json_object_object_add(j, "bytes_shared", json_object_new_uint64(c->shared));
	json_object_object_add(j, "bytes_reserved", json_object_new_uint64(c->reserved));
	json_object_object_add(j, "bytes_copied", json_object_new_uint64(c->copied));
	json_object_object_add(j, "standstill_ms", json_object_new_uint64(c->still_ms));
}

static void finding_text(const struct mfd_check *c, enum mfd_check_id id)
{
	const struct mfd_check_kind *k = &mfd_check_kinds[id];
	const struct mfd_check_finding *f = &c->found[id];
	char option[MFD_CHECK_OPTION_TEXT];

	mfd_check_option(c, id, option);
	printf("%s%s%s%s: %s: %u\n", mfd_check_verdict_texts[k->verdict], *option ? ", " : "",
	       option,
	       f->added ? " (migrate adds it)" :
	       f->given ? " (is given)" :
			  "",
	       k->what, f->count);
	for (unsigned i = 0; i < f->count && i < MFD_CHECK_EXAMPLES; i++)
		printf("    %s\n", f->example[i]);
	if (f->count > MFD_CHECK_EXAMPLES)
		printf("    ...\n");
	printf("  %s\n", k->text);
}

void mfd_check_text(const struct mfd_check *c)
{
	char memory[MFD_SIZE_TEXT], shared[MFD_SIZE_TEXT];

	for (enum mfd_check_id id = 0; id < MFD_CHECK_KINDS; id++)
		if (c->found[id].count)
			finding_text(c, id);
	if (c->there.kernel[0])
		printf("the target has Linux %s%s%s, criu-multifd %s\n", c->there.kernel,
		       c->there.criu[0] ? ", CRIU " : "", c->there.criu, c->there.program);
	printf("process %d%s: %s, %s of it shared; it would stand still for about %.1f s\n",
	       c->root, c->tree.n > 1 ? " with its children" : "", mfd_size_text(c->memory, memory),
	       mfd_size_text(c->shared, shared), (double)c->still_ms / 1000.0);
	if (mfd_check_impossible(c) < MFD_CHECK_KINDS)
		printf("process %d cannot move\n", c->root);
	else if (mfd_check_moves(c))
		printf("process %d can move as typed\n", c->root);
	else
		printf("process %d can move if what is said above is seen to\n", c->root);
}
