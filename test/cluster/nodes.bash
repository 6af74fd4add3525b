# shellcheck shell=bash disable=SC2154
# SPDX-License-Identifier: GPL-2.0-only
# What the nodes of each engine have in common. ROOT is the folder of the cluster.

# The first process of the node's pid namespace, for what runs outside, too.
node_init()
{
	local pid

	for pid in $(pgrep -P "$2"); do
		[ "$(readlink "/proc/$pid/ns/pid")" != "$(readlink /proc/self/ns/pid)" ] || continue
		echo "$pid" >"$ROOT/$1.init"
		register pid "$pid"
		return 0
	done
	return 1
}
