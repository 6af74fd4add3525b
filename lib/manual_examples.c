// SPDX-License-Identifier: GPL-2.0-only
/* The section EXAMPLES of each verb's manual page; test/bats/15-manual.bats knows their flags. */
#include <stddef.h>
#include <string.h>

#include "manual.h"

static const struct {
	const char *verb, *text;
} table[] = {
	{ "migrate",
	  "# process 4242 and its children; it runs there when this returns 0\n"
	  "criu-multifd migrate -t 4242 --to 192.0.2.2:7777 --restore\n"
	  "\n"
	  "# a server is started there through ssh, for this move alone\n"
	  "criu-multifd migrate -t 4242 --to ssh://root@target --restore\n"
	  "\n"
	  "# most memory crosses while it runs; its TCP connections and its address come along\n"
	  "criu-multifd migrate -t 4242 --to 192.0.2.2:7777 --restore --precopy on \\\n"
	  "    --move-address 192.0.2.80/24@eth0 -- --tcp-established\n" },
	{ "drain", "# what would move, and what cannot\n"
		   "criu-multifd drain --to host-b,host-c --slice machine.slice --dry-run\n"
		   "\n"
		   "# eight at once, and nothing that would not end by ten\n"
		   "criu-multifd drain --to host-b,host-c --slice machine.slice --parallel 8 \\\n"
		   "    --deadline 22:00\n" },
	{ "check",
	  "criu-multifd check -t 4242\n"
	  "criu-multifd check -t 4242 --to 192.0.2.2:7777 --restore\n"
	  "\n"
	  "# ids of what stands in the way\n"
	  "criu-multifd check -t 4242 --json | jq -r '.findings[] | select(.open) | .id'\n" },
	{ "serve", "# for sources with a certificate of the CA in /etc/criu-multifd/tls\n"
		   "criu-multifd serve --listen 192.0.2.2:7777 --restore --pid-namespace own\n"
		   "\n"
		   "# on a network that is trusted; addresses of it may come along\n"
		   "criu-multifd serve --listen 10.0.0.2:7777 --insecure --restore \\\n"
		   "    --allow-address 10.0.0.0/24\n" },
	{ "wait", "criu-multifd wait web --for done --timeout 60 && echo 'every page is there'\n" },
	{ "restore", "criu-multifd restore web\n"
		     "criu-multifd restore web -- --shell-job --tcp-established\n" },
	{ "status", "criu-multifd status\n"
		    "criu-multifd status web --watch\n"
		    "criu-multifd status --json | jq .\n"
		    "\n"
		    "# on the source, of a sender that is in doubt\n"
		    "criu-multifd status --source /var/tmp/web\n" },
	{ "set", "criu-multifd set web max-bandwidth 500Mbit\n"
		 "criu-multifd set --source /var/tmp/web max-bandwidth unlimited\n" },
	{ "abort", "criu-multifd abort web\n" },
	{ "resolve", "# here, on the target: it runs on the source, as was seen there\n"
		     "criu-multifd resolve web --discard\n"
		     "\n"
		     "# on the source: ask the target once more, and decide nothing\n"
		     "criu-multifd resolve --source /var/tmp/web --retry\n" },
	{ "show", "criu-multifd show /run/criu-multifd/web/session.img | jq .\n" },
	{ "keys", "criu-multifd keys init ca\n"
		  "criu-multifd keys add ca host-b 192.0.2.2\n"
		  "scp -r ca/host-b root@host-b:/etc/criu-multifd/tls\n"
		  "criu-multifd keys show ca --days 30\n" },
	{ "cpr", "criu-multifd cpr list\n"
		 "\n"
		 "# this terminal, for the session's\n"
		 "criu-multifd cpr offer web tty <&0\n"
		 "\n"
		 "# after an upgrade: go on with the new program\n"
		 "criu-multifd cpr exec\n" },
	{ "keeper", "criu-multifd keeper --dir /run/criu-multifd\n" },
};

const char *mfd_manual_examples(const char *verb)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
		if (!strcmp(table[i].verb, verb))
			return table[i].text;
	return NULL;
}
