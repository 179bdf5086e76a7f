#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What is in hook/data/kubernetes, without a cluster: the manifests have members that the API has, kubectl, if it is
# here, keeps all of them, and what the DaemonSets run on a node is played in a directory, with the node's containerd
# and systemd played, too.

# shellcheck disable=SC2016 # $name in single quotes is jq's
# shellcheck disable=SC2317 # functions are called by name
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

DATA=$TESTS/../hook/data/kubernetes
NODE=$WORK/node
OPT=$NODE/opt/oci-sandbox-cgroup
SPEC=$NODE/etc/containerd/vmm-base.json
DROP_IN=$NODE/etc/containerd/conf.d/oci-sandbox-cgroup.toml

# --- the manifests -----------------------------------------------------------

# spoiled NAME FILE SED_EXPRESSION WHAT - with that change the same check finds something, and says what
spoiled() {
	local dir=$WORK/spoiled
	rm -rf "$dir"
	mkdir "$dir"
	cp "$DATA"/*.yaml "$DATA"/*.toml "$dir"
	sed -i "$3" "$dir/$2"
	if cmp -s "$dir/$2" "$DATA/$2"; then
		fail "spoiled: $1" "nothing was changed"
		return
	fi
	capture "$TESTS/lib/kubernetes" "$dir"/*.yaml "$dir"/*.toml
	check_exit "spoiled: $1" 1
	check_match "spoiled: $1: what it says" "$4" "$OUT"
}

manifests() {
	check "the manifests, and the drop-in with them" "$TESTS/lib/kubernetes" "$DATA"/*.yaml "$DATA"/*.toml
	spoiled "a member that is none" install.yaml 's/hostPID/hostPid/' "has no member 'hostPid'"
	spoiled "a member in another place" runtimeclass.yaml 's/^handler:/spec:\n  handler:/' "has no member 'spec'"
	spoiled "a missing member" runtimeclass.yaml '/^handler:/d' "'handler' is missing"
	spoiled "a label that is no text" runtimeclass.yaml 's/"true"/true/' "True is no value of it"
	spoiled "a size that is none" runtimeclass.yaml 's/160Mi/160MB/' "'160MB' is no value"
	spoiled "a mount of nothing" uninstall.yaml 's/^        - name: host$/        - name: root/' "mounts host, which is no volume"
	spoiled "labels that are not selected" install.yaml '0,\,app.kubernetes.io/name: .*,s,,app.kubernetes.io/name: x,' "have no label"
	spoiled "another handler" runtimeclass.yaml 's/^handler: vmm/handler: vm/' "has no handler 'vm'"
	spoiled "other nodes" runtimeclass.yaml 's,io/node,io/nodes,' "not about the same nodes"
	spoiled "a namespace that nobody makes" uninstall.yaml 's/namespace: .*/namespace: default/' "nobody makes its namespace"
	spoiled "a drop-in of another version" containerd.toml 's/version = 3/version = 2/' "no drop-in of version 3"
	spoiled "a drop-in for another plugin" containerd.toml 's/cri.v1.runtime/grpc.v1.cri/' "another plugin"
	spoiled "YAML that is none" install.yaml 's/^spec:/spec: :/' "cannot be read"
}

# all_kept ASKED GOT - each scalar of the one, with its path, is in the other
all_kept() {
	comm -23 <(scalars "$1") <(scalars "$2") | grep . && return 1
	return 0
}

scalars() {
	jq -r 'paths(scalars) as $p | "\($p | map(tostring) | join(".")) \(getpath($p))"' "$1" | sort
}

# kubectl knows the members of a DaemonSet without an API server, and drops what is none.
by_kubectl() {
	local file image
	if [[ -z $(type -P kubectl) ]]; then
		skip "kubectl" "it is not installed"
		return
	fi
	for file in install uninstall; do
		python3 -c 'import json, sys, yaml
print(json.dumps(list(yaml.safe_load_all(sys.stdin))[-1]))' <"$DATA/$file.yaml" >"$WORK/$file.json"
		image=$(jq -r '.spec.template.spec.containers[0].image' "$WORK/$file.json")
		capture env KUBECONFIG=/dev/null timeout 120 kubectl set image --local -f "$WORK/$file.json" idle="${image}x" -o json
		check_exit "kubectl: $file.yaml" 0
		printf '%s\n' "${OUT//"${image}x"/$image}" >"$WORK/$file.kept"
		check "kubectl: $file.yaml: it keeps all that is in there" all_kept "$WORK/$file.json" "$WORK/$file.kept"
	done
	sed -i 's/hostPID/hostPid/' "$WORK/install.json"
	capture env KUBECONFIG=/dev/null timeout 120 kubectl set image --local -f "$WORK/install.json" idle=x/y:1 -o json
	cat >"$WORK/install.kept" <<<"$OUT"
	capture all_kept "$WORK/install.json" "$WORK/install.kept"
	check_match "kubectl: what is no member it would drop" "hostPid" "$OUT"
}

# --- a node ------------------------------------------------------------------

# make_node - where containerd 2 is told to look at drop-ins. on-node plays what a node's own programs do there.
make_node() {
	rm -rf "$NODE"
	mkdir -p "$NODE/etc/containerd" "$NODE/run"
	echo 'version = 3
imports = [
  "/etc/containerd/conf.d/*.toml",
]
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
  SystemdCgroup = true' >"$NODE/etc/containerd/config.toml"
	(cd "$WORK" && rm -f config.json && "$RUNTIME" spec)
	: >"$WORK/said"
	cat >"$WORK/on-node" <<-EOF
		#!/bin/sh
		echo "\$*" >>"$WORK/said"
		case "\$*" in
		"ctr oci spec") [ ! -e "$WORK/no-ctr" ] && cat "$WORK/config.json" ;;
		"systemctl restart containerd") [ ! -e "$WORK/no-restart" ] ;;
		"/opt/oci-sandbox-cgroup/oci-sandbox-cgroup prune") exec "$OPT/oci-sandbox-cgroup" --state-dir "$NODE/run/oci-sandbox-cgroup" prune ;;
		*) exit 99 ;;
		esac
	EOF
	chmod +x "$WORK/on-node"
}

# node COMMAND - as the container of a DaemonSet runs it
node() {
	PROGRAMS=$WORK ON_NODE=$WORK/on-node "$DATA/node" "$1" "$NODE"
}

# said - what the node's own programs were asked for since the last time
said() {
	paste -sd , "$WORK/said"
	: >"$WORK/said"
}

# everything - of the node
everything() {
	find "$NODE" -type f -exec sha256sum {} + | sort -k 2
}

installs() {
	local was
	make_node
	capture node install
	check_exit "install" 0
	check_eq "install: what is run on the node" "ctr oci spec,systemctl restart containerd" "$(said)"
	check "install: the program" cmp "$OSC" "$OPT/oci-sandbox-cgroup"
	check "install: the one that it becomes" cmp "$OSC-systemd" "$OPT/oci-sandbox-cgroup-systemd"
	check "install: the drop-in" cmp "$DATA/containerd.toml" "$DROP_IN"
	check_eq "install: the base spec that the drop-in names" "/etc/containerd/vmm-base.json" \
		"$(sed -n 's/.*base_runtime_spec = "\(.*\)"/\1/p' "$DROP_IN")"
	check_eq "install: the hook in it, by its path on the node" \
		'{"poststop":["/opt/oci-sandbox-cgroup/oci-sandbox-cgroup","--layout=auto"],"prestart":["/opt/oci-sandbox-cgroup/oci-sandbox-cgroup","--layout=auto"]}' \
		"$(jq -c '.hooks | map_values([.[0].path, .[0].args[1]])' "$SPEC")"
	check_eq "install: all else is the node's own" "$(jq . "$WORK/config.json")" "$(jq 'del(.hooks)' "$SPEC")"
	check_eq "install: nothing else" "$(printf '%s\n' config.toml conf.d/oci-sandbox-cgroup.toml vmm-base.json | sort)" \
		"$(cd "$NODE/etc/containerd" && find . -type f -printf '%P\n' | sort)"
	was=$(everything)
	capture node install
	check_exit "again" 0
	check_eq "again: containerd goes on" "ctr oci spec" "$(said)"
	check_eq "again: nothing changes" "$was" "$(everything)"
	jq '.process.cwd = "/tmp"' "$WORK/config.json" >"$WORK/new.json" && mv "$WORK/new.json" "$WORK/config.json"
	capture node install
	check_eq "a later containerd: its spec, and a restart" "ctr oci spec,systemctl restart containerd /tmp" "$(said) $(jq -r .process.cwd "$SPEC")"
}

# drivers - the handler's is that of the node's other ones
drivers() {
	make_node
	sed -i 's/^  SystemdCgroup/  # SystemdCgroup/' "$NODE/etc/containerd/config.toml"
	capture node install
	check_exit "cgroupfs" 0
	check_eq "cgroupfs: the drop-in differs in that alone" "    SystemdCgroup = true|    SystemdCgroup = false" \
		"$(diff "$DATA/containerd.toml" "$DROP_IN" | sed -n 's/^[<>] //p' | paste -sd '|')"
	said >/dev/null
	sed -i 's/^  # SystemdCgroup/  SystemdCgroup/' "$NODE/etc/containerd/config.toml"
	capture node install
	check_eq "systemd, from now on: the drop-in, and a restart" "ctr oci spec,systemctl restart containerd" "$(said)"
	check "systemd, from now on: as it is shipped" cmp "$DATA/containerd.toml" "$DROP_IN"
}

# upgrades - while a hook of the old version runs
upgrades() {
	local inode running
	cp "$(type -P sleep)" "$OPT/oci-sandbox-cgroup"
	"$OPT/oci-sandbox-cgroup" 1000 &
	running=$!
	started "$running"
	inode=$(stat -c %i "$OPT/oci-sandbox-cgroup")
	capture node install
	check_exit "upgrade" 0
	check "upgrade: the program is the new one" cmp "$OSC" "$OPT/oci-sandbox-cgroup"
	check "upgrade: by rename" test "$inode" != "$(stat -c %i "$OPT/oci-sandbox-cgroup")"
	check "upgrade: what ran goes on" is_alive "$running"
	check_eq "upgrade: containerd is not concerned" "ctr oci spec" "$(said)"
	end_process "$running"
}

# interrupted - what was not done is done by the next try
interrupted() {
	make_node
	: >"$WORK/no-restart"
	capture node install
	check_exit "containerd does not come back" 1
	check_match "containerd does not come back: said" "containerd cannot be restarted; the next try does it" "$ERR"
	said >/dev/null
	rm "$WORK/no-restart"
	capture node install
	check_exit "the next try" 0
	check_eq "the next try: restarts, though no file changes" "ctr oci spec,systemctl restart containerd" "$(said)"
	check_eq "the next try: and is done" "ctr oci spec" "$(node install >/dev/null && said)"
	make_node
	: >"$WORK/no-ctr"
	capture node install
	rm "$WORK/no-ctr"
	check_exit "containerd does not answer" 1
	check_match "containerd does not answer: said" "ctr of the node gives no spec" "$ERR"
	check_eq "containerd does not answer: it goes on as it was" "ctr oci spec" "$(said)"
	check "containerd does not answer: there is no drop-in" test ! -e "$DROP_IN"
	capture node uninstall
	check_exit "what was begun, off again" 0
	check_eq "what was begun, off again: what is left" "$NODE/etc/containerd/config.toml" "$(find "$NODE" -type f)"
	said >/dev/null
}

# unfit NAME CONFIG WHAT - a node on which the drop-in would be in vain, or do harm: nothing is changed there
unfit() {
	local was
	make_node
	if [[ -n $2 ]]; then
		printf '%b' "$2" >"$NODE/etc/containerd/config.toml"
	else
		rm "$NODE/etc/containerd/config.toml"
	fi
	was=$(everything)
	capture node install
	check_exit "$1" 1
	check_match "$1: what to do" "$3" "$ERR"
	check_eq "$1: nothing changes" "$was, " "$(everything), $(said)"
}

uninstalls() {
	make_node
	node install >/dev/null
	said >/dev/null
	STATE=$NODE/run/oci-sandbox-cgroup
	fake_container vm1
	capture osc prestart <"$WORK/vm1/created"
	check_exit "a sandbox: prestart" 0
	capture node uninstall
	check_exit "uninstall, with a sandbox" 1
	check_match "uninstall, with a sandbox: which" "nothing is removed: vm1 \$" "$ERR"
	check "uninstall, with a sandbox: the program stays" test -x "$OPT/oci-sandbox-cgroup"
	check "uninstall, with a sandbox: the drop-in stays" test -e "$DROP_IN"
	check_eq "uninstall, with a sandbox: only asked" "/opt/oci-sandbox-cgroup/oci-sandbox-cgroup prune" "$(said)"
	end_process "$PID"
	kill -KILL "$(watcher_pid vm1)" 2>/dev/null || :
	capture node uninstall
	check_exit "uninstall, once it has ended" 0
	check_match "uninstall: what is run on the node" "prune,systemctl restart containerd$" "$(said)"
	check_eq "uninstall: what is left" "$NODE/etc/containerd/config.toml" "$(find "$NODE" -type f)"
	cg_remove "$(own_cgroup vm1)"
	capture node uninstall
	check_exit "uninstall, again" 0
	check_eq "uninstall, again: nothing to do" "" "$(said)"
	STATE=$WORK/state
}

wrong_words() {
	local words
	for words in "" "install" "install $WORK/none" "remove $WORK" "install $WORK $WORK"; do
		# shellcheck disable=SC2086 # words
		capture env PROGRAMS="$WORK" ON_NODE=false "$DATA/node" $words
		check_exit "node $words" 1
		check_match "node $words: usage" "usage: node" "$ERR"
	done
}

before=$(snapshot)
if python3 -c 'import yaml, tomllib' 2>/dev/null; then
	manifests
	by_kubectl
else
	skip "the manifests" "python3 has no module yaml or tomllib"
fi
installs
upgrades
drivers
interrupted
unfit "no configuration" "" "containerd config default >"
unfit "a configuration of containerd 1" "imports = ['/etc/containerd/conf.d/*.toml']\nversion = 2\n" "is of version 2, and a drop-in needs 3"
unfit "a configuration without a version" "imports = ['/etc/containerd/conf.d/*.toml']\n" "is of version 1"
unfit "no drop-ins" "version = 3\n" "add imports = "
unfit "drop-ins in a comment" 'version = 3\n# imports = ["/etc/containerd/conf.d/*.toml"]\n' "add imports = "
unfit "other drop-ins" 'version = 3\nimports = ["/etc/containerd/other/*.toml"]\n' "add imports = "
uninstalls
wrong_words
check_nothing_left "kubernetes" "$before"
finish
