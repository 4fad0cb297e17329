package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// private is the memory in bytes that a process shares with no other, file pages
// that only it maps among it (Private_* of smaps_rollup, proc_pid_smaps(5)).
func private(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	total := 0.0
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "Private_") {
			continue
		}
		fields := strings.Fields(line)
		kib, err := strconv.Atoi(fields[1])
		if err != nil {
			return 0, fmt.Errorf("cannot read %q of smaps_rollup", line)
		}
		total += float64(kib << 10)
	}
	return total, nil
}

// children are the processes that any thread of pid has started.
func children(pid int) ([]int, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		for field := range strings.FieldsSeq(string(text)) {
			child, err := strconv.Atoi(field)
			if err != nil {
				return nil, err
			}
			pids = append(pids, child)
		}
	}
	return pids, nil
}
