// SPDX-License-Identifier: GPL-2.0-only
/* The scope of systemd's that a restored process lives in, by its control group. */
#include <stdlib.h>
#include <string.h>

#include "cgroup.h"
#include "status.h"

#define PREFIX "criu-multifd-" /* as the server names them: target/restore/restore_scope.c */
#define SUFFIX ".scope"

int mfd_status_scope_of(const char *group, char name[MFD_STATUS_SCOPE])
{
	const char *at = group, *end;
	size_t len;

	while ((at = strstr(at, "/" PREFIX)) != NULL) {
		end = strchrnul(++at, '/');
		len = (size_t)(end - at);
		if (len >= MFD_STATUS_SCOPE || len < sizeof(PREFIX SUFFIX) ||
		    memcmp(end - strlen(SUFFIX), SUFFIX, strlen(SUFFIX)) != 0)
			continue;
		memcpy(name, at, len);
		name[len] = 0;
		return 1;
	}
	return 0;
}

/* systemd has the one hierarchy, or one of its own. */
const char *mfd_status_scope(const Mfd__SessionEntry *e, char name[MFD_STATUS_SCOPE])
{
	static const char *const hierarchies[] = { "0::", ":name=systemd:" };
	pid_t pid = e->has_restored_pid ? (pid_t)e->restored_pid : 0;
	int found = 0;
	char *group;

	for (size_t i = 0; pid > 0 && !found && i < sizeof(hierarchies) / sizeof(*hierarchies);
	     i++) {
		if (mfd_cgroup_path(pid, pid, hierarchies[i], &group))
			continue;
		found = mfd_status_scope_of(group, name);
		free(group);
	}
	return found ? name : NULL;
}
