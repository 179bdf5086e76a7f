# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What the installed files must be with which engines find the hook: register.sh
# compares, and others use it who need them with another program or other arguments.

# shellcheck disable=SC2016 # $name in single quotes is jq's

CDI_KIND=oci-sandbox-cgroup.io/hook

# hooks_d_file PROGRAM
hooks_d_file() {
	jq -n --arg bin "$1" '{version: "1.0.0",
		hook: {path: $bin, args: ["oci-sandbox-cgroup", "--layout=auto"], timeout: 30},
		when: {annotations: {"^oci-sandbox-cgroup\\.io/hook$": "^true$"}}, stages: ["prestart", "poststop"]}'
}

# cdi_file PROGRAM
cdi_file() {
	jq -n --arg bin "$1" --arg kind "$CDI_KIND" '
		def device($name; $options): {name: $name, containerEdits: {hooks: [("prestart", "poststop")
			| {hookName: ., path: $bin, args: (["oci-sandbox-cgroup"] + $options + [.]), timeout: 30}]}};
		{cdiVersion: "0.3.0", kind: $kind,
			devices: [device("default"; ["--layout=auto"]), device("only"; ["--layout=auto", "--sandbox-cgroup-only=true"]),
				device("nested"; ["--layout=nested"]), device("sibling"; ["--layout=sibling"])]}'
}
