# shellcheck shell=bash disable=SC2153,SC2154  # variables of helpers.bash and of the round
# SPDX-License-Identifier: GPL-2.0-only
#
# Which process plays which role, on both hosts; without forks where it is asked often. A host is
# known by its network namespace: file systems and pids are shared.

# scan: one look at every process of both hosts; fills the table PROCS: "PID HOST COMM PPID" by pid,
# and ARGS with their command lines.
declare -A PROC_HOST PROC_COMM PROC_PARENT PROC_ARGS PROC_STATE

scan()
{
	local dir pid stat words host

	PROC_HOST=() PROC_COMM=() PROC_PARENT=() PROC_ARGS=() PROC_STATE=()
	for dir in /proc/[0-9]*; do
		if [ "$dir/ns/net" -ef "/run/netns/$NS_A" ]; then host=a
		elif [ "$dir/ns/net" -ef "/run/netns/$NS_B" ]; then host=b
		else continue
		fi
		pid=${dir#/proc/}
		read -r stat <"$dir/stat" || continue
		words=()
		mapfile -d '' -t words <"$dir/cmdline" || continue
		PROC_COMM[$pid]=${stat#*(}
		PROC_COMM[$pid]=${PROC_COMM[$pid]%)*}
		stat=${stat##*) }
		PROC_STATE[$pid]=${stat%% *}
		[[ ${PROC_STATE[$pid]} != [ZX] ]] || continue
		stat=${stat#* }
		PROC_PARENT[$pid]=${stat%% *}
		PROC_ARGS[$pid]=${words[*]}
		PROC_HOST[$pid]=$host
	done 2>/dev/null
}

# which HOST COMM ARGS-PATTERN: sets FOUND, their pids.
which_are()
{
	local pid

	FOUND=()
	for pid in "${!PROC_HOST[@]}"; do
		# shellcheck disable=SC2053  # patterns
		[[ ${PROC_HOST[$pid]} == $1 && ${PROC_COMM[$pid]} == $2 &&
			${PROC_ARGS[$pid]} == $3 ]] && FOUND+=("$pid")
	done
}

# with_parent_among yes|no: of FOUND, those whose parent is, or is not, in FOUND, too.
with_parent_among()
{
	local pid all=" ${FOUND[*]} " kept=()

	for pid in "${FOUND[@]}"; do
		if [[ $all == *" ${PROC_PARENT[$pid]} "* ]]; then
			[ "$1" = no ] || kept+=("$pid")
		else
			[ "$1" = yes ] || kept+=("$pid")
		fi
	done
	FOUND=("${kept[@]}")
}

# Of the supervisor's two children the worker is the one that has an heir.
server_children()
{
	local pid heirs=' ' kept=()

	which_are b mfd-heir '*'
	for pid in "${FOUND[@]}"; do
		heirs+="${PROC_PARENT[$pid]} "
	done
	which_are b 'criu-multifd*' '*criu-multifd serve *'
	with_parent_among yes
	for pid in "${FOUND[@]}"; do
		if [[ $heirs == *" $pid "* ]]; then
			[ "$1" = keeper ] || kept+=("$pid")
		else
			[ "$1" = worker ] || kept+=("$pid")
		fi
	done
	FOUND=("${kept[@]}")
}

# role NAME: sets FOUND; empty: there is none at this moment.
role()
{
	scan
	case $1 in
	migrate)
		case $PLAN in
		runc-*) which_are a runc '*runc * checkpoint *' ;;
		*) which_are a 'criu-multifd*' '*criu-multifd migrate *' ;;
		esac ;;
	# As runc's child it gives itself the title "criu: dump ...".
	criu-dump) which_are a criu '*criu?(:) @(dump|swrk) *' ;;
	criu-restore) which_are b criu '*criu?(:) @(restore|swrk) *' ;;
	sender) which_are a 'criu-multifd*' '*criu-multifd send *' ;;
	sender-supervisor)
		which_are a 'criu-multifd*' '*criu-multifd send *'
		with_parent_among no ;;
	sender-worker)
		which_are a 'criu-multifd*' '*criu-multifd send *'
		with_parent_among yes ;;
	server)
		server_children worker
		FOUND+=("$SERVER_PID") ;;
	server-supervisor) FOUND=("$SERVER_PID") ;;
	server-worker) server_children worker ;;
	keeper) server_children keeper ;;
	heir) which_are b mfd-heir '*' ;;
	standby) which_are b mfd-standby '*' ;;
	warden) which_are b 'mfd-warden*' '*' ;;
	esac
}

# copies HOST: sets FOUND, the processes of the victim there.
copies()
{
	which_are "$1" victim '*'
}
