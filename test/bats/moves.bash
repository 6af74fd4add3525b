# shellcheck shell=bash disable=SC2034,SC2154
# SPDX-License-Identifier: GPL-2.0-only
# A whole move of the victim from host a to host b, in either mode, with the real CRIU. Needs
# helpers.bash.

# move safe|postcopy [criu restore options]: sets DUMP_RC; the restored tree is RESTORED_PID.
# Session $SESSION.
move()
{
	local mode=$1

	shift
	export CRIU_MULTIFD_MODE=$mode
	IMG=$SCRATCH/img.$SESSION
	if [ "$mode" = safe ]; then
		dump_with_plugin "$VICTIM_PID" "$IMG" || {
			DUMP_RC=$?; echo "dump failed: $DUMP_RC" >&2; return 1; }
		DUMP_RC=0
		wait_session "$SESSION" committed || return 1
		restore_lazily "$SERVER_DIR/$SESSION" "$@" || {
			echo "restore failed" >&2; return 1; }
	else
		start "dump.$SESSION" dump_with_plugin "$VICTIM_PID" "$IMG"
		local dump=$STARTED_PID
		wait_session "$SESSION" ready || return 1
		restore_lazily "$SERVER_DIR/$SESSION" "$@" || {
			echo "restore failed" >&2; return 1; }
		wait "$dump" || { DUMP_RC=$?; echo "dump failed: $DUMP_RC" >&2; return 1; }
		DUMP_RC=0
	fi
	wait_session "$SESSION" 'done'
}

# After a move: the source is gone, the copy runs, every byte is as it was.
moved_well()
{
	assert_gone "$VICTIM_PID" || return 1
	assert_running "$RESTORED_PID" || return 1
	verify_victim || return 1
	assert_not_frozen "$RESTORED_PID"
}

# A field of the sender's summary.
summary()
{
	jq -r ".$1" "$SCRATCH/img.$SESSION/multifd-send.json"
}

# After a failure: the source runs on as before and nothing is left on the target.
source_runs_on()
{
	assert_not_frozen "$VICTIM_PID" || return 1
	verify_victim || return 1
	assert_target_clean
}
