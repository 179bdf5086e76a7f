# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What every containerd of the tests is told.

# patient_containerd - a table of its configuration. By default it gives up on the container of a dead shim after
# 5 s, which is no time for an emulated machine: the container would live on.
patient_containerd() {
	cat <<-EOF
		[timeouts]
		  "io.containerd.timeout.shim.cleanup" = "60s"
		  "io.containerd.timeout.shim.load" = "60s"
		  "io.containerd.timeout.shim.shutdown" = "30s"
		  "io.containerd.timeout.task.state" = "30s"
	EOF
}
