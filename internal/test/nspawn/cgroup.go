package nspawn

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	cgroupRoot   = "/sys/fs/cgroup"
	cgroupPrefix = "fjmcp-test-"
)

// hierarchies returns the mounted cgroup hierarchies that systemd uses: the
// one of cgroup v2, or on a hybrid host the v1 hierarchy named systemd and the
// v2 one beside it.
func hierarchies() ([]string, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(cgroupRoot, &st); err != nil {
		return nil, fmt.Errorf("containers need cgroups: %w", err)
	}
	if st.Type == unix.CGROUP2_SUPER_MAGIC {
		return []string{cgroupRoot}, nil
	}
	var found []string
	for _, name := range []string{"systemd", "unified"} {
		dir := filepath.Join(cgroupRoot, name)
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
			found = append(found, dir)
		}
	}
	if len(found) == 0 {
		return nil, errors.New("containers need a cgroup v2 hierarchy, or the v1 hierarchy named systemd")
	}
	return found, nil
}

var serial atomic.Int64

// newName names a container after this process: pid and start time, so that a
// reused pid is not taken for us.
func newName() (string, error) {
	start, err := startTime(os.Getpid())
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s%d-%d-%d", cgroupPrefix, os.Getpid(), start, serial.Add(1)), nil
}

// startTime returns a process's start in clock ticks since boot (proc(5),
// /proc/pid/stat field 22).
func startTime(pid int) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // from the third on
	return strconv.Atoi(fields[19])
}

// ownerAlive tells whether the process that a cgroup is named after still runs. One that
// is not of our making has an owner.
func ownerAlive(name string) bool {
	var pid, start, n int
	if _, err := fmt.Sscanf(name, cgroupPrefix+"%d-%d-%d", &pid, &start, &n); err != nil {
		return true
	}
	now, err := startTime(pid)
	return err == nil && now == start
}

func makeCgroups(name string) ([]string, error) {
	roots, err := hierarchies()
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, root := range roots {
		dir := filepath.Join(root, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return dirs, fmt.Errorf("cannot make the container's cgroup: %w", err)
		}
		dirs = append(dirs, dir)
	}
	return dirs, nil
}

// clearCgroups kills whatever stands in the cgroups and removes them. It tries
// for some ten seconds: a killed process leaves its cgroup a little later.
func clearCgroups(dirs []string) error {
	var err error
	for range 200 {
		err = nil
		for _, dir := range dirs {
			killAll(dir)
			err = errors.Join(err, removeTree(dir))
		}
		if err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("cannot remove the container's cgroup: %w", err)
}

func killAll(dir string) {
	for _, pid := range procs(dir) {
		unix.Kill(pid, unix.SIGKILL)
	}
}

// procs lists the processes of a cgroup and all below it, but for those outside our pid
// namespace, which have the number 0.
func procs(dir string) []int {
	var pids []int
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "cgroup.procs" {
			return nil
		}
		b, _ := os.ReadFile(path)
		for _, word := range strings.Fields(string(b)) {
			if pid, _ := strconv.Atoi(word); pid > 0 {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids
}

// removeTree removes a cgroup depth first: only directories can be removed, and
// only empty ones.
func removeTree(dir string) error {
	var all []string
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			all = append(all, path)
		}
		return nil
	})
	for _, path := range slices.Backward(all) {
		if err := unix.Rmdir(path); err != nil && err != unix.ENOENT {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// Sweep ends and removes what killed runs left behind. Boot calls it.
func Sweep() error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	var dead []string
	for _, root := range roots {
		found, _ := filepath.Glob(filepath.Join(root, cgroupPrefix+"*"))
		for _, dir := range found {
			if !ownerAlive(filepath.Base(dir)) {
				dead = append(dead, dir)
			}
		}
	}
	return clearCgroups(dead)
}
