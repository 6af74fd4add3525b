// SPDX-License-Identifier: GPL-2.0-only
/* The images of one task, as CRIU would write them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image.h"
#include "images.h"
#include "images/criu.pb-c.h"
#include "server.h"
#include "source.h"

char images_dir[96];

static void write_one(int fd, const char *name, uint32_t magic, const ProtobufCMessage *const *e,
		      size_t n)
{
	assert_int_equal(mfd_image_write(fd, name, MFD_IMAGE_COMMON_MAGIC, magic, e, n), 0);
}

void images_make(uint32_t task, uint64_t vaddr, unsigned pages)
{
	MfdCriu__PstreeEntry ps = MFD_CRIU__PSTREE_ENTRY__INIT;
	MfdCriu__PagemapHead head = MFD_CRIU__PAGEMAP_HEAD__INIT;
	MfdCriu__PagemapEntry pm = MFD_CRIU__PAGEMAP_ENTRY__INIT;
	MfdCriu__VmaEntry vma = MFD_CRIU__VMA_ENTRY__INIT, *vmas[1] = { &vma };
	MfdCriu__MmEntry mm = MFD_CRIU__MM_ENTRY__INIT;
	const ProtobufCMessage *one[2];
	char name[40];
	int fd;

	snprintf(images_dir, sizeof(images_dir), "%s/img", server_tmp);
	mkdir(images_dir, 0700);
	fd = open(images_dir, O_RDONLY | O_DIRECTORY);
	ps.pid = ps.pgid = ps.sid = task;
	one[0] = &ps.base;
	write_one(fd, "pstree.img", MFD_IMAGE_PSTREE, one, 1);
	head.pages_id = 1;
	pm.vaddr = vaddr;
	pm.has_nr_pages = pm.has_flags = 1;
	pm.nr_pages = pages;
	pm.compat_nr_pages = pages;
	pm.flags = MFD_PE_LAZY;
	one[0] = &head.base;
	one[1] = &pm.base;
	snprintf(name, sizeof(name), "pagemap-%u.img", task);
	write_one(fd, name, MFD_IMAGE_PAGEMAP, one, 2);
	vma.start = vaddr;
	vma.end = vaddr + (uint64_t)pages * PAGE;
	vma.prot = PROT_READ | PROT_WRITE;
	vma.flags = MAP_PRIVATE | MAP_ANONYMOUS;
	vma.fd = -1;
	mm.n_vmas = 1;
	mm.vmas = vmas;
	one[0] = &mm.base;
	snprintf(name, sizeof(name), "mm-%u.img", task);
	write_one(fd, name, MFD_IMAGE_MM, one, 1);
	close(fd);
}
