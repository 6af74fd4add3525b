/* SPDX-License-Identifier: GPL-2.0-only */
/* The images of one task, as CRIU would write them. */
#ifndef PLAYERS_IMAGES_H
#define PLAYERS_IMAGES_H

#include <stdint.h>

extern char images_dir[96]; /* where images_make has put them */

/* pstree.img, pagemap-TASK.img and mm-TASK.img: so many lazy pages at vaddr. */
void images_make(uint32_t task, uint64_t vaddr, unsigned pages);

#endif
