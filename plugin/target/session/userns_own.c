// SPDX-License-Identifier: GPL-2.0-only
/*
 * Do these images restore everything into a user namespace of its own, whose root is not this
 * host's?  By what decides it in CRIU: the root task's user namespace is another one than that of
 * the process that dumped it, and the image of that namespace has its maps.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "image.h"
#include "images/criu.pb-c.h"
#include "session.h"

#define MAGIC_USERNS 0x55474906U

/* The first entry, which the caller frees; NULL: there is none, or not of this kind. */
static ProtobufCMessage *first(int dir, const char *name, uint32_t magic,
			       const ProtobufCMessageDescriptor *d)
{
	struct mfd_image *img;
	ProtobufCMessage *m = NULL;

	if (mfd_image_open(dir, name, magic, &img, NULL))
		return NULL;
	if (mfd_image_next(img, d, &m, NULL) != 1)
		m = NULL;
	mfd_image_close(img);
	return m;
}

static void release(ProtobufCMessage *m)
{
	if (m)
		protobuf_c_message_free_unpacked(m, NULL);
}

static uint32_t root_task(int dir)
{
	ProtobufCMessage *m =
		first(dir, "pstree.img", MFD_IMAGE_PSTREE, &mfd_criu__pstree_entry__descriptor);
	uint32_t pid = m ? ((MfdCriu__PstreeEntry *)m)->pid : 0;

	release(m);
	return pid;
}

static uint32_t namespace_of(const MfdCriu__TaskKobjIdsEntry *ids)
{
	return ids && ids->has_user_ns_id ? ids->user_ns_id : 0;
}

static uint32_t namespace_of_task(int dir, uint32_t pid)
{
	ProtobufCMessage *m;
	char name[32];
	uint32_t id;

	snprintf(name, sizeof(name), "ids-%u.img", pid);
	m = first(dir, name, MFD_IMAGE_IDS, &mfd_criu__task_kobj_ids_entry__descriptor);
	id = namespace_of((MfdCriu__TaskKobjIdsEntry *)m);
	release(m);
	return id;
}

static uint32_t namespace_of_criu(int dir)
{
	ProtobufCMessage *m = first(dir, "inventory.img", MFD_IMAGE_INVENTORY,
				    &mfd_criu__inventory_entry__descriptor);
	uint32_t id = m ? namespace_of(((MfdCriu__InventoryEntry *)m)->root_ids) : 0;

	release(m);
	return id;
}

/* Each number inside is another one outside than root's. */
static int is_without_root(MfdCriu__UidGidExtent *const *map, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!map[i]->lower_first)
			return 0;
	return n > 0;
}

static int has_maps(int dir, uint32_t id)
{
	MfdCriu__UsernsEntry *e;
	char name[32];
	int yes;

	snprintf(name, sizeof(name), "userns-%u.img", id);
	e = (MfdCriu__UsernsEntry *)first(dir, name, MAGIC_USERNS,
					  &mfd_criu__userns_entry__descriptor);
	yes = e && is_without_root(e->uid_map, e->n_uid_map) &&
	      is_without_root(e->gid_map, e->n_gid_map);
	release((ProtobufCMessage *)e);
	return yes;
}

int mfd_userns_is_own(int dir)
{
	uint32_t pid = root_task(dir), own = pid ? namespace_of_task(dir, pid) : 0,
		 outer = namespace_of_criu(dir);

	return own && outer && own != outer && has_maps(dir, own);
}
