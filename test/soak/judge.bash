# shellcheck shell=bash disable=SC2034,SC2153,SC2154  # variables of helpers.bash and of the round
# SPDX-License-Identifier: GPL-2.0-only
#
# What is promised after a round, and the person that does what `status` says.
#
#	exactly one copy runs, whole, and every byte of it is right; or
#	the state is one that `status` describes and `resolve`, tried once on each side that it
#	names, settles: and then exactly one copy runs
#
# Two copies never run, not even for a moment: a copy that runs logs the pause in which it was
# moved, and two logged pauses that began in the same microsecond are two copies of one moment.
# What is left afterwards is looked for, too.

# violation TEXT: the first one counts.
violation()
{
	[ -n "$VIOLATION" ] || VIOLATION=$*
	return 1
}

# ---- what can be seen ----------------------------------------------------------------------------

# look: sets HERE and THERE (processes of the copy), HERE_RUNS and THERE_RUNS (those of them that
# run), STATE and DOUBT of the session on the target, SENDER (processes of ours and CRIU's at work
# on the source).
look()
{
	local here there

	scan
	copies a
	here=("${FOUND[@]}")
	copies b
	there=("${FOUND[@]}")
	FOUND=("${here[@]}" "${there[@]}")
	HERE=${#here[@]} THERE=${#there[@]} HERE_RUNS=0 THERE_RUNS=0
	ticking_by_host "${here[*]}"
	which_are a 'criu*' '*'
	SENDER=${#FOUND[@]}
	read -r STATE DOUBT < <("$MFD" status --dir "$SERVER_DIR" "$SESSION" --json 2>/dev/null |
		jq -r '"\(.state) \(.in_doubt)"')
	STATE=${STATE:-none} DOUBT=${DOUBT:-false}
}

ticking_by_host()
{
	local pid before=() i=0

	for pid in "${FOUND[@]}"; do
		before+=("$(switches "$pid")")
	done
	nap 120
	for pid in "${FOUND[@]}"; do
		if [ "$(switches "$pid")" != "${before[i++]}" ] && ! is_dead "$pid"; then
			if [[ " $1 " == *" $pid "* ]]; then
				HERE_RUNS=$((HERE_RUNS + 1))
			else
				THERE_RUNS=$((THERE_RUNS + 1))
			fi
		fi
	done
}

seen()
{
	local doubt=''

	[ "$DOUBT" = false ] || doubt=', in doubt'
	echo "here $HERE_RUNS of $HERE run, there $THERE_RUNS of $THERE; session $STATE$doubt;" \
		"$SENDER processes at work here; migrate: ${MIGRATE_RC:-still there}"
}

ran_twice()
{
	awk '$1 == "gap" && $5 == "rank=0" && begun[$2]++ { twice = 1 } END { exit !twice }' \
		"$VICTIM_DIR/victim.log"
}

# ---- the server's service manager, and the operator of the target --------------------------------

server_again()
{
	is_dead "$SERVER_PID" || return 0
	[ -z "$STOPPING" ] || return 0
	ms_now
	[ "$MS" -ge "$SERVER_NEXT" ] || return 0
	SERVER_NEXT=$((MS + 700)) SERVERS=$((SERVERS + 1))
	launch_server
}

# Starts a restore where the plan leaves that to a person, and again when one failed.
operator()
{
	local rc

	[ -n "$OPERATES" ] || return 0
	if [ -n "$RESTORING" ]; then
		# First of all: a restore that has ended leaves its namespace, which all_end ends.
		[ -n "$RESTORE_INIT" ] || namespace_init "$RESTORE_UNSHARE" || :
		if [ -s "$RESTORING.rc" ]; then
			rc=$(cat "$RESTORING.rc")
			RESTORING=''
			[ "$rc" = 0 ] && RESTORED=y
		elif [ -n "$RESTORE_INIT" ] && is_dead "$RESTORE_INIT"; then
			RESTORING='' rc=killed
		else
			return 0
		fi
		if [ "$rc" = 0 ] && [[ $PLAN = runc-* ]]; then
			RESTORE_INIT=$(runc_b state "$ID" | jq .pid)
		elif [ "$rc" != 0 ]; then
			[ -z "$RESTORE_INIT" ] || kill -KILL "$RESTORE_INIT" 2>/dev/null
			ms_now
			RESTORE_NEXT=$((MS + 500)) RESTORE_INIT=''
		fi
		return 0
	fi
	# Restored, and killed since with its namespace: then again, if the session still has it.
	if [ -n "$RESTORED" ] && [ -n "$RESTORE_INIT" ] && is_dead "$RESTORE_INIT"; then
		RESTORED='' RESTORE_INIT=''
	fi
	ms_now
	[ -z "$RESTORED" ] && [ "$MS" -ge "$RESTORE_NEXT" ] && [ "$RESTORES" -lt 6 ] || return 0
	may_restore || return 0
	launch_restore
}

# The state is asked for only once the server's log has told that it is near.
may_restore()
{
	[ -e "$SCRATCH/anchor.$RESTORE_FROM" ] &&
		[[ " $RESTORE_IN " == *" $(status_json state) "* ]]
}

launch_restore()
{
	RESTORES=$((RESTORES + 1))
	RESTORING=$SCRATCH/restore.$RESTORES RESTORE_INIT=''
	if [[ $PLAN = runc-* ]]; then
		start_container_restore
		RESTORE_UNSHARE=$STARTED_PID
		return
	fi
	start "restore.$RESTORES" nsenter --net=/run/netns/"$NS_B" -- \
		unshare --pid --mount --fork --kill-child --mount-proc bash -c "$NS_INIT" init \
			"$RESTORING.rc" "$CRIU" restore -D "$SERVER_DIR/$SESSION" -d -v4 \
			-o "restore.$RESTORES.log" --pidfile "$RESTORING.pid" --lazy-pages
	RESTORE_UNSHARE=$STARTED_PID
}

# ---- the verdict ---------------------------------------------------------------------------------

tend()
{
	server_again
	operator
	[ -n "$MIGRATE_RC" ] || ! is_dead "$MIGRATING" || {
		wait "$MIGRATING"; MIGRATE_RC=$?; } 2>/dev/null
}

faults_over()
{
	local i

	for i in "${!PLAN_FAULTS[@]}"; do
		[ -e "$SCRATCH/fault.$i.over" ] || return 1
	done
}

# settled: nothing is left to be decided.
settled()
{
	if [ "$HERE_RUNS" = "$COUNT" ] && [ "$THERE" = 0 ]; then
		[ "$SENDER" = 0 ] && [[ $STATE =~ ^(none|null|aborted)$ ]] && [ "$DOUBT" != true ]
	elif [ "$THERE_RUNS" = "$COUNT" ] && [ "$HERE" = 0 ]; then
		[ "$SENDER" = 0 ] && [ "$STATE" = 'done' ] && [ "$DOUBT" != true ]
	else
		return 1
	fi
}

# The one try on the target; --run is right only if nothing of the source can live on.
resolve_there()
{
	local what=$1

	DID+=" target:$what"
	"$MFD" resolve --dir "$SERVER_DIR" "$SESSION" "--$what" >>"$SCRATCH/resolve.out" 2>&1 ||
		violation "resolve on the target ($what) refuses: $(tail -n 1 \
			"$SCRATCH/resolve.out")"
	[ "$what" != discard ] || [ "$STATE" != running ] || MAY_HAVE_RUN=y
}

resolve_here()
{
	DID+=" source:$1"
	"$MFD" resolve --source "$IMG" "--$1" >>"$SCRATCH/resolve.out" 2>&1 ||
		violation "resolve on the source ($1) refuses: $(tail -n 1 "$SCRATCH/resolve.out")"
}

# jq says 0 for no input at all, so its word is compared.
described()
{
	[ "$(status_json 'in_doubt and .advice != null')" = true ] ||
		[ "$("$MFD" status --source "$IMG" --json 2>/dev/null |
			jq '.in_doubt == true')" = true ]
}

# person: what a person does that has looked at both hosts. Nothing is done twice.
person()
{
	if [ "$DOUBT" = true ] && [[ $DID != *target:* ]]; then
		if [ "$HERE" = 0 ]; then
			resolve_there run
		else
			resolve_there discard
		fi
	elif [ "$HERE" != 0 ] && [ "$HERE_RUNS" = 0 ] && [ "$THERE" = 0 ] &&
		[[ $DID != *source:* ]]; then
		described || [[ $DID = *target:* ]] ||
			violation 'frozen, and no status says why' || return
		resolve_here run
	elif [ "$HERE" = 0 ] && [ "$THERE_RUNS" = 0 ] && [ "$STATE" = 'done' ]; then
		violation 'frozen there, and no status says why'
	fi
}

# How long nothing may change, in ms, before a person acts: not at all long where the program asks
# for a person, and longer than each of its own limits of time where it does not.
patience()
{
	if [ "$DOUBT" = true ] || [ "$SENDER" = 0 ]; then
		echo 3000
	else
		echo 10000
	fi
}

# How much slower than a machine with nothing else to do this one is just now.
how_slow()
{
	local load

	read -r load _ </proc/loadavg
	SLOW=$((${load%.*} / ($(nproc) * 2) + 1))
	[ "$SLOW" -le 5 ] || SLOW=5
}

# settle: until a verdict or a violation. A person waits until nothing goes on by itself.
settle()
{
	local end before='' since=0 now

	how_slow
	end=$((SECONDS + LIMIT * SLOW))
	while [ -z "$VIOLATION" ]; do
		tend
		look
		if [ "$HERE_RUNS" != 0 ] && [ "$THERE_RUNS" != 0 ]; then
			nap 100
			look
			[ "$HERE_RUNS" = 0 ] || [ "$THERE_RUNS" = 0 ] ||
				violation "two copies run: $(seen)"
		fi
		[ "$SECONDS" -le "$end" ] || violation "does not settle: $(seen)"
		faults_over || { nap 20; continue; }
		settled && return 0
		now="$HERE $HERE_RUNS $THERE $THERE_RUNS $STATE $DOUBT $SENDER"
		ms_now
		[ "$now" = "$before" ] || { before=$now since=$MS; }
		if [ $((MS - since)) -ge $(($(patience) * SLOW)) ]; then
			lost || person
			since=$MS
		fi
	done
	return 1
}

# lost: no copy is left that could run. Two deaths are no fault of ours: that of the tasks
# themselves, with the first process of their namespace, once the target alone has them; and that
# with CRIU, which has its parasite in them while it dumps.
lost()
{
	[ "$HERE" = 0 ] && [ "$THERE" = 0 ] && [ "$DOUBT" != true ] || return 1
	[[ ! $STATE =~ ^(ready|restored|committed)$ ]] || return 1
	if [[ $(cat "$SCRATCH/warden-killed-in" 2>/dev/null) =~ ^(committed|done)$ ]]; then
		EXPLAINED='killed with the warden'
	elif [ -e "$SCRATCH/criu-dump-killed" ] &&
		[[ $STATE =~ ^(none|null|aborted|receiving)$ ]]; then
		EXPLAINED='died with criu'
	else
		violation "LOST: $(seen)"
		return 0
	fi
	VIOLATION=explained
}

# The exit code of `migrate` says where the process runs; and nothing fails without a fault.
told_truly()
{
	[ "$THERE" != 0 ] || grep -qE '^[0-9]+ ms' "$SCRATCH"/fault.* ||
		violation "it did not move, and no fault was met: $(tail -n 1 \
			"$SCRATCH/migrate.err")"
	# runc has no code that says where the container runs.
	case ${PLAN%-*}-${MIGRATE_RC:-} in
	*-0) [ "$HERE" = 0 ] || violation "migrate said 0, and it runs here: $(seen)" ;;
	runc-*) ;;
	*-[1245]) [ "$THERE" = 0 ] || [ -n "$DID" ] ||
		violation "migrate said $MIGRATE_RC, and it runs there: $(seen)" ;;
	esac
}

verify()
{
	VERIFY_TIMEOUT=20 verify_victim >"$SCRATCH/verify.out" 2>&1 ||
		violation "bytes are wrong: $(head -n 1 "$SCRATCH/verify.out")"
	! ran_twice || [ -n "$MAY_HAVE_RUN" ] || violation 'both copies have run'
}

# ---- what is left --------------------------------------------------------------------------------

# none_but PATTERN...: of both hosts only processes "HOST COMMAND-LINE" that match; sets STRAYS.
none_but()
{
	local pid pattern

	scan
	STRAYS=''
	for pid in "${!PROC_HOST[@]}"; do
		[ "$pid" != "$BADLINK_PID" ] || continue
		for pattern in "$@"; do
			# shellcheck disable=SC2053  # a pattern
			[[ "${PROC_HOST[$pid]} ${PROC_ARGS[$pid]}" != $pattern ]] || continue 2
		done
		STRAYS+=" ${PROC_HOST[$pid]}: $pid ${PROC_ARGS[$pid]:0:60};"
	done
	[ -z "$STRAYS" ]
}

nothing_stays_here()
{
	local files rules may=('* */victim *' 'b *criu-multifd serve *')

	# The first process of the copy's namespace is there as long as the copy is.
	if [ "$THERE" = 0 ]; then
		:
	elif [ -n "$OPERATES" ]; then
		may+=('b unshare --pid *' 'b bash -c rc=*' 'b sleep 3600')
	else
		may+=('b mfd-warden*')
	fi
	eventually 5 none_but "${may[@]}" || violation "left: $STRAYS"
	files=$(find "$SCRATCH/disk-a" -mindepth 1 -maxdepth 1 ! -name images)
	[ -z "$files" ] || violation "left on the source: $files"
	rules=$(on_a nft list ruleset 2>/dev/null; on_b nft list ruleset 2>/dev/null)
	[ -z "$rules" ] || violation "left: firewall rules: $(head -n 1 <<<"$rules")"
}

nothing_stays_there()
{
	local files

	if [ "$THERE" = 0 ]; then
		eventually 5 no_files_there || violation "left on the target: $FILES"
	fi
}

no_files_there()
{
	FILES=$(find "$SERVER_DIR" -mindepth 1 \( -name lazy-pages.socket -o -name 'pagemap-*.img' \
		-o -name 'pages.*' \) -printf '%P ')
	[ -z "$FILES" ]
}

# The server ends in good order, and so does all that belongs to it once the copy is gone.
all_end()
{
	STOPPING=y
	kill -TERM "$SERVER_PID" 2>/dev/null
	scan
	copies '*'
	[ ${#FOUND[@]} = 0 ] || kill -KILL "${FOUND[@]}" 2>/dev/null
	[ -n "$RESTORE_INIT" ] || [ -z "$RESTORE_UNSHARE" ] ||
		namespace_init "$RESTORE_UNSHARE" || :
	[ -z "$RESTORE_INIT" ] || kill -KILL "$RESTORE_INIT" 2>/dev/null
	RESTORE_INIT='' RESTORE_UNSHARE=''
	[[ $PLAN != runc-* ]] || containers_down
	eventually 8 none_but || violation "left when all has ended: $STRAYS"
	CGROUPS=$(find /sys/fs/cgroup -maxdepth 4 -type d -name "*$SESSION*" 2>/dev/null)
	[ -z "$CGROUPS" ] || violation "left: control groups: $CGROUPS"
}
