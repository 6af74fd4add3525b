# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Dumps and restores with inherited descriptors: a keeper, a dump that hands things to it or to a
# server, and the restore after it. VICTIM_PID and IMG are the caller's, as are containers made of a
# bundle with runc.

start_keeper()
{
	KEEPER_DIR=$SCRATCH/keeper
	mkdir -p "$KEEPER_DIR"
	start keeper "$MFD" keeper --dir "$KEEPER_DIR" --log-level debug "$@"
	KEEPER_PID=$STARTED_PID
	eventually 5 test -S "$KEEPER_DIR/.keeper.sock"
}

# dump_kept [criu options]: no target, descriptors to the keeper.
dump_kept()
{
	CRIU_MULTIFD_KEEPER=$KEEPER_DIR/.keeper.sock CRIU_MULTIFD_SESSION=$SESSION \
		"$CRIU" dump -t "$VICTIM_PID" -D "$IMG" -L "$PLUGINS" -v4 -o dump.log "$@" \
			</dev/null
}

# Within `run` the helpers' counter is not kept.
restore_refused()
{
	run ! restore_in_namespace "$IMG" -L "$PLUGINS" "$@"
	STARTED=$((STARTED + 1))
}

restore_kept()
{
	restore_in_namespace "$IMG" -L "$PLUGINS" "$@" || {
		grep multifd "$IMG/restore.log" >&2; return 1; }
}

held()
{
	"$MFD" cpr --dir "$1" list --json | jq length
}

# dump_to_server [VARIABLE=VALUE...]: without a keeper unless one is named.
dump_to_server()
{
	on_a env "$@" CRIU_MULTIFD_TARGET="$SERVER_ADDR" CRIU_MULTIFD_SESSION="$SESSION" \
		timeout -k 5 60 "$CRIU" dump -t "$VICTIM_PID" -D "$IMG" --lazy-pages -L "$PLUGINS" \
			--address 127.0.0.1 -v4 -o dump.log </dev/null
}

# make_bundle PROGRAM ARGUMENTS [JQ]: for runc, without a network namespace of its own; ARGUMENTS as
# in JSON. Sets ID and RUNC.
make_bundle()
{
	local root=$SCRATCH/bundle/rootfs lib

	command -v runc >/dev/null || fail 'no runc: run contrib/setup'
	ID=mfd-${SCRATCH##*.}
	RUNC="runc --root $SCRATCH/runc --log $SCRATCH/runc.log --criu $CRIU"
	register undo $RUNC delete -f "$ID"
	mkdir -p "$root"/{bin,proc,sys,dev,tmp,data}
	cp "$1" "$root/bin/"
	for lib in $(ldd "$1" | grep -o '/[^ ]*'); do
		mkdir -p "$root${lib%/*}"
		cp -L "$lib" "$root$lib"
	done
	(cd "$SCRATCH/bundle" && runc spec)
	jq ".process.terminal = false | .process.rlimits = [] | .root.readonly = false |
		.process.args = [\"/bin/${1##*/}\", $2] |
		.linux.namespaces |= map(select(.type != \"network\")) |
		.mounts |= map(select(.destination != \"/sys\" and .destination != \"/sys/fs/cgroup\")) | ${3:-.}" \
		"$SCRATCH/bundle/config.json" >"$SCRATCH/config"
	mv "$SCRATCH/config" "$SCRATCH/bundle/config.json"
}

# The runtime knows nothing of the plugin: its folder and its options come by the environment.
runc_with_plugin()
{
	CRIU_LIBS_DIR=$PLUGINS CRIU_MULTIFD_KEEPER=$KEEPER_DIR/.keeper.sock \
		CRIU_MULTIFD_SESSION=$SESSION $RUNC "$@" </dev/null
}
