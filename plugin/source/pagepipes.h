/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * CRIU's page pipes.  With --lazy-pages CRIU keeps all pages of the tasks in pipes for its lazy
 * page server, and closes them after that, before the tasks die or run on: 10 ms per GiB, as the
 * kernel lets go of each page.  A pipe that another process has open, too, is closed in no time,
 * and what is in it goes when that process ends.
 */
#ifndef MFD_PAGEPIPES_H
#define MFD_PAGEPIPES_H

#include <sys/types.h>

/*
 * Make room for their descriptors, before this process has a second thread: later the kernel waits
 * for all processors each time the table grows (expand_fdtable in fs/file.c), 15 ms.
 */
void mfd_pagepipes_prepare(void);

struct mfd_pagepipes {
	int *fd;
	unsigned n;
};

/*
 * Open each pipe that holds something and of which process `criu` (it waits at its gate; pidfd is
 * its) has both ends.  k is all zero.  At most half of the descriptors that this process may have
 * are used.
 */
void mfd_pagepipes_keep(struct mfd_pagepipes *k, pid_t criu, int pidfd);
void mfd_pagepipes_close(struct mfd_pagepipes *k);

#endif
