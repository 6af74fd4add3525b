# shellcheck shell=bash disable=SC2034,SC2154
# SPDX-License-Identifier: GPL-2.0-only
# Two nodes with the real corosync and pacemaker, in namespaces of this machine. Needs
# helpers.bash. A node is fenced by ending the first process of its pid namespace.

cluster_setup()
{
	local id program

	scratch_up
	need_root
	need_criu
	for program in corosync pacemakerd crm_mon stonith_admin; do
		command -v "$program" >/dev/null || skip "no $program (make check-cluster installs it)"
	done
	hosts_up
	ROOT=$SCRATCH/cluster
	mkdir -p "$ROOT/fence"
	declare -gA NS=([n1]=$NS_A [n2]=$NS_B) ADDR=([n1]=$ADDR_A [n2]=$ADDR_B) INIT=()
	write_files
	start fencing fencing
	node_up n1
	node_up n2
	eventually 60 both_online || { crm n1 crm_mon -1; fail 'no cluster'; }
	cib_up
}

write_files()
{
	cat >"$ROOT/corosync.conf" <<-END
	totem {
	    version: 2
	    cluster_name: mfd
	    transport: udpu
	    token: 2000
	    crypto_cipher: none
	    crypto_hash: none
	}
	nodelist {
	    node {
	        ring0_addr: $ADDR_A
	        name: n1
	        nodeid: 1
	    }
	    node {
	        ring0_addr: $ADDR_B
	        name: n2
	        nodeid: 2
	    }
	}
	quorum {
	    provider: corosync_votequorum
	    two_node: 1
	    wait_for_all: 0
	}
	logging {
	    to_stderr: yes
	    to_syslog: no
	}
	END
	# The device: asks outside, and waits for the answer.
	cat >"$ROOT/fence_legacy" <<-END
	#!/bin/bash
	action='' port=''
	while IFS='=' read -r key value; do
	    case \$key in action) action=\$value ;; port | nodename) port=\${port:-\$value} ;; esac
	done
	case \$action in
	metadata) cat $ROOT/fence.xml; exit 0 ;;
	monitor | status | list) exit 0 ;;
	off | reboot)
	    : >$ROOT/fence/\$port.asked
	    for _ in {1..100}; do
	        [ ! -e $ROOT/fence/\$port.dead ] || { rm $ROOT/fence/\$port.dead; exit 0; }
	        sleep 0.1
	    done ;;
	esac
	exit 1
	END
	chmod +x "$ROOT/fence_legacy"
	cat >"$ROOT/fence.xml" <<-'END'
	<?xml version="1.0"?>
	<resource-agent name="fence_legacy"><longdesc/><vendor-url/>
	<parameters>
	<parameter name="action" required="1"><content type="string"/></parameter>
	<parameter name="port" required="0"><content type="string"/></parameter>
	</parameters>
	<actions><action name="off"/><action name="reboot"/><action name="monitor"/>
	<action name="metadata"/></actions>
	</resource-agent>
	END
}

# Outside of the nodes: what a device is asked for is done.
fencing()
{
	local asked node

	while sleep 0.1; do
		for asked in "$ROOT"/fence/*.asked; do
			[ -e "$asked" ] || continue
			node=${asked##*/} node=${node%.asked}
			kill_node "$node"
			rm "$asked"
			: >"$ROOT/fence/$node.dead"
		done
	done
}

node_up()
{
	start "node.$1" nsenter --net=/run/netns/"${NS[$1]}" -- unshare -m -u -i -p -f \
		--mount-proc --kill-child env MFD_TOP="$MFD_TOP" MFD="$MFD" \
		"$MFD_TOP/test/cluster/node" "$1" "${ADDR[$1]}" "$ROOT"
	eventually 10 node_init "$1" "$STARTED_PID"
}

kill_node()
{
	kill -KILL "$(cat "$ROOT/$1.init")" 2>/dev/null || :
}

# crm NODE COMMAND...: on that node.
crm()
{
	nsenter -t "$(cat "$ROOT/$1.init")" -m -u -i -p -n -- "${@:2}"
}

both_online()
{
	crm n1 crm_mon -1 2>/dev/null | grep -q 'Online: \[ n1 n2 \]'
}

# Of two that do not see each other n1 survives: it is fenced later.
cib_up()
{
	crm n1 crm_attribute --name dc-deadtime --update 5s
	crm n1 crm_attribute --name stonith-enabled --update true
	crm n1 crm_attribute --name no-quorum-policy --update ignore
	crm n1 cibadmin -C -o resources --xml-text '<primitive id="fencing" class="stonith"
		type="fence_legacy"><instance_attributes id="fencing-i"><nvpair id="fencing-p"
		name="pcmk_host_list" value="n1 n2"/><nvpair id="fencing-d"
		name="pcmk_delay_base" value="n1:15s;n2:0s"/></instance_attributes></primitive>'
}

# resource NAME COMMAND [OPTIONS]: a process of the cluster; starts on n1 if it can. It is made
# stopped: it must not start before its place is known.
resource()
{
	local id=$1

	crm n1 cibadmin -C -o resources --xml-text "$(cat <<-END
	<primitive id='$id' class='ocf' provider='criu-multifd' type='process'>
	<instance_attributes id='$id-i'>
	<nvpair id='$id-c' name='command' value='$2'/>
	<nvpair id='$id-p' name='program' value='$MFD'/>
	<nvpair id='$id-a' name='addresses' value='n1=$ADDR_A n2=$ADDR_B'/>
	<nvpair id='$id-o' name='migrate_options' value='${3:-}'/>
	</instance_attributes>
	<meta_attributes id='$id-m'>
	<nvpair id='$id-g' name='allow-migrate' value='true'/>
	<nvpair id='$id-r' name='target-role' value='Stopped'/>
	</meta_attributes>
	<operations>
	<op id='$id-monitor' name='monitor' interval='5s' timeout='30s'/>
	<op id='$id-to' name='migrate_to' interval='0' timeout='60s' on-fail='block'/>
	</operations>
	</primitive>
	END
	)"
	crm n1 cibadmin -C -o constraints --xml-text \
		"<rsc_location id='$id-l' rsc='$id' node='n1' score='50'/>"
	crm n1 crm_resource -r "$id" --meta -p target-role -v Started
}

# runs_on NAME NODE: Pacemaker believes so, asked on that node.
runs_on()
{
	crm "$2" crm_resource -r "$1" --locate 2>/dev/null | grep -q "is running on: $2\b"
}

standby()
{
	crm "$1" crm_attribute --node "$1" --name standby --update "$2" --lifetime forever
}

# ops NAME NODE: what was done there by the agent, with its result.
ops()
{
	crm "$2" crm_mon -1 --show-detail --operations 2>/dev/null
}

# copies NAME: pids of processes outside with this text in their command line, that are not stopped.
copies()
{
	local pid n=0

	for pid in $(pgrep -f -- "$1"); do
		[ "$(readlink "/proc/$pid/exe")" = "$VICTIM" ] && ! is_held "$pid" && n=$((n + 1))
	done
	echo "$n"
}
