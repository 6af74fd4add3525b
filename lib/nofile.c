// SPDX-License-Identifier: GPL-2.0-only
/* RLIMIT_NOFILE. */
#include <limits.h>
#include <sys/resource.h>

#include "nofile.h"

static unsigned limit(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) || r.rlim_cur > UINT_MAX / 2)
		return UINT_MAX / 2;
	return (unsigned)r.rlim_cur;
}

unsigned mfd_nofile_raise(void)
{
	struct rlimit r, more;

	if (!getrlimit(RLIMIT_NOFILE, &r) && r.rlim_cur < MFD_NOFILE_WANTED) {
		more = (struct rlimit){ MFD_NOFILE_WANTED, r.rlim_max > MFD_NOFILE_WANTED ?
								   r.rlim_max :
								   MFD_NOFILE_WANTED };
		r.rlim_cur = r.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &more)) /* needs CAP_SYS_RESOURCE */
			(void)setrlimit(RLIMIT_NOFILE, &r);
	}
	return limit();
}

unsigned mfd_nofile_for_sessions(void)
{
	return limit() / 2;
}

unsigned mfd_nofile_for_greetings(void)
{
	return limit() / 8;
}
