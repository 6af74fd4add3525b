// SPDX-License-Identifier: GPL-2.0-only
/* Names of threads. */
#include <pthread.h>
#include <stdio.h>

#include "threadname.h"

void mfd_threadname_set(const char *what, unsigned number)
{
	char name[16]; /* what the kernel keeps */

	if (snprintf(name, sizeof(name), "mfd-%.6s-%u", what, number % 1000) < (int)sizeof(name))
		pthread_setname_np(pthread_self(), name);
}
