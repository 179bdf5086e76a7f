// SPDX-License-Identifier: Apache-2.0

// What a hook in Go on containerd/cgroups takes for the same, without split, watcher, and care for what
// fails: it makes the sandbox cgroup, limits it, and moves the container there. With layout nested it
// only reads and remembers. For tests/bench/run; cgroup v1 and hybrid.
//
//	peer setup|teardown nested|sibling STATE_DIR CGROUP
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/cgroups"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

type record struct {
	Pid int `json:"pid"`
}

func setup(sibling bool, path, cgroup string) error {
	var state specs.State
	var spec specs.Spec
	if err := json.NewDecoder(os.Stdin).Decode(&state); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(state.Bundle, "config.json"))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &spec); err != nil {
		return err
	}
	text, err = json.Marshal(record{Pid: state.Pid})
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".tmp", text, 0600); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil || !sibling {
		return err
	}
	control, err := cgroups.New(cgroups.V1, cgroups.StaticPath(cgroup), spec.Linux.Resources)
	if err != nil {
		return err
	}
	return control.Add(cgroups.Process{Pid: state.Pid})
}

func teardown(sibling bool, path, cgroup string) error {
	var state specs.State
	var old record
	if err := json.NewDecoder(os.Stdin).Decode(&state); err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &old); err != nil {
		return err
	}
	if sibling {
		control, err := cgroups.Load(cgroups.V1, cgroups.StaticPath(cgroup))
		if err != nil {
			return err
		}
		if err := control.Delete(); err != nil {
			return err
		}
	}
	return os.Remove(path)
}

func main() {
	act := setup
	if os.Args[1] == "teardown" {
		act = teardown
	}
	if err := act(os.Args[2] == "sibling", filepath.Join(os.Args[3], "peer.json"), os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}
