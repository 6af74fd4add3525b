# shellcheck shell=bash disable=SC2034  # what is chosen is used by the round
# SPDX-License-Identifier: GPL-2.0-only
#
# What a round does, as a function of its seed alone: the plan, the tree, and the faults with their
# moments. Every choice is made here, before anything runs, so that a seed repeats it.

# pick VARIABLE VALUE...: without a subshell, which would have random numbers of its own.
pick()
{
	local -n chosen=$1
	local list=("${@:2}")

	chosen=${list[RANDOM % ${#list[@]}]}
}

# ---- faults --------------------------------------------------------------------------------------

# Processes by role (procs.bash), and which faults a role is asked to bear. A role that stands twice
# comes twice as often.
KILLED=(migrate criu-dump criu-dump sender-supervisor sender-worker sender-worker sender
	server-supervisor server-worker server-worker server heir standby keeper warden
	criu-restore criu-restore)
STOPPED=(migrate criu-dump sender-supervisor sender-worker server-supervisor server-worker heir
	standby keeper warden criu-restore)
STARVED=(criu-dump sender-worker server-supervisor server-worker server-worker criu-restore)
KINDS=(kill kill kill kill kill stop stop cut cut stall stall full-target full-source descriptors
	memory peer clock)

# What is waited for before the delay begins to run: a moment in the life of a session, as its
# server or `migrate` tells of it. Which of them come, and in what order, is the plan's.
declare -A ANCHORS=(
	[safe]='ready committed restored'
	[safe+confirm]='ready restoring restored committed'
	[early]='restoring restored ready committed'
	[postcopy]='restorable restored ready committed'
	[postcopy+confirm]='restorable restoring restored ready committed'
	[runc-safe]='ready committed restored'
	[runc-postcopy]='restorable restored ready committed'
)
ANCHORS_ALL='begin begin opened joined'
# `migrate` tells of these, runc does not.
ANCHORS_MIGRATE='freezing streaming releasing'
ANCHORS_PRECOPY='round round round'

# One fault: KIND WHAT ANCHOR DELAY_MS DURATION_MS. WHAT is a role, or a detail of the kind.
choose_fault()
{
	local kind what=- anchor delay duration=0

	pick kind "${KINDS[@]}"
	# A session that must survive three deaths at once is no promise.
	[ "$kind" != kill ] || [ "$PLAN_KILLS" -lt 2 ] || kind=stall
	case $kind in
	kill)
		pick what "${KILLED[@]}"
		PLAN_KILLS=$((PLAN_KILLS + 1)) ;;
	stop) pick what "${STOPPED[@]}" ;;
	descriptors | memory) pick what "${STARVED[@]}" ;;
	peer) pick what silent garbage greetings hello ;;
	clock) pick what -90000 -3600 7200 90000 ;;
	esac
	[ "$kind" = kill ] || duration=$((50 + RANDOM % 2000))
	# shellcheck disable=SC2086  # words
	pick anchor $ANCHORS_ALL ${ANCHORS[$PLAN]} \
		$([[ $PLAN == runc-* ]] || echo "$ANCHORS_MIGRATE") \
		$([ "$PLAN_PRECOPY" = 0 ] || echo "$ANCHORS_PRECOPY")
	case $((RANDOM % 3)) in
	0) delay=0 ;;
	1) delay=$((RANDOM % 40)) ;;
	2) delay=$((RANDOM % 600)) ;;
	esac
	PLAN_FAULTS+=("$kind $what $anchor $delay $duration")
}

# ---- the round -----------------------------------------------------------------------------------

# choose SEED
choose()
{
	local i n

	# Neighbouring seeds shall have nothing in common.
	RANDOM=$(cksum <<<"soak $1" | cut -d ' ' -f 1)
	pick PLAN safe safe+confirm early postcopy postcopy+confirm runc-safe runc-postcopy
	pick PLAN_MIB 8 16 16 32 48
	pick PLAN_TREE 0 0 1 2
	pick PLAN_CHANNELS 1 2 4
	pick PLAN_COMPRESS off off lz4
	pick PLAN_FILL random random half text
	# It takes between 0.3 and 1.3 seconds, so that faults meet it.
	PLAN_RATE=$((PLAN_MIB * (PLAN_TREE + 1) * 1000 / (300 + RANDOM % 1000)))
	PLAN_PRECOPY=0
	[[ $PLAN == runc-* ]] ||
		PLAN_PRECOPY=$(($(cksum <<<"precopy $1" | cut -d ' ' -f 1) % 3 == 0))
	pick n 1 1 1 2 2 3
	PLAN_FAULTS=() PLAN_KILLS=0
	for ((i = 0; i < n; i++)); do
		choose_fault
	done
}

plan_words()
{
	local words

	printf '%-16s %2d MiB x %d' "$PLAN" "$PLAN_MIB" $((PLAN_TREE + 1))
	[ "$PLAN_PRECOPY" = 0 ] || printf '; precopy'
	for words in "${PLAN_FAULTS[@]}"; do
		# shellcheck disable=SC2086  # words
		set -- $words
		printf '; %s' "$1"
		[ "$2" = - ] || printf ' %s' "$2"
		printf ' at %s+%s' "$3" "$4"
		[ "$5" = 0 ] || printf ' for %s' "$5"
	done
}
