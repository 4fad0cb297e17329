package attack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ways are what /proc/<pid> has to look at a process.
var ways = []string{"environ", "mem", "maps", "smaps", "pagemap", "auxv", "stack", "syscall", "io", "fd", "fdinfo", "map_files", "root", "cwd", "exe", "task"}

func childProcesses() []attack {
	var all []attack
	for _, way := range ways {
		if way == "task" || way == "fdinfo" {
			continue // told of one's own uid, and holds nothing
		}
		all = append(all, attack{who: "C", name: "look at its parent's " + way, right: "refused", in: func(*self) result {
			return refused(look(os.Getppid(), way), fs.ErrNotExist)
		}})
	}
	for _, name := range []string{"mem", "oom_score_adj", "coredump_filter", "timerslack_ns", "clear_refs", "comm", "attr/current", "timens_offsets"} {
		all = append(all, attack{who: "C", name: "write to its parent's " + name, right: "refused", in: func(*self) result {
			_, err := os.OpenFile(fmt.Sprintf("/proc/%d/%s", os.Getppid(), name), os.O_WRONLY, 0)
			return refused(err, fs.ErrNotExist)
		}})
	}
	return append(all,
		attack{who: "C", name: "see processes but its own session's", right: "none", in: func(s *self) result {
			var found []string
			for _, dir := range processes() {
				if st, ok := sys(dir); ok && dir != fmt.Sprintf("/proc/%d", os.Getppid()) && st.Uid != uint32(os.Getuid()) {
					found = append(found, dir)
				}
			}
			return none(found)
		}},
		attack{who: "C", name: "end others' processes", right: "refused", in: (*self).kill},
		attack{who: "C", name: "trace its parent", right: "refused", in: func(*self) result { return refused(unix.PtraceSeize(os.Getppid())) }},
		attack{who: "C", name: "read its parent's memory", right: "refused", in: func(*self) result { return refused(vmRead(os.Getppid())) }},
		attack{who: "C", name: "write to its parent's memory", right: "refused", in: func(*self) result {
			b := make([]byte, 8)
			_, err := unix.ProcessVMWritev(os.Getppid(), []unix.Iovec{{Base: &b[0], Len: 8}}, []unix.RemoteIovec{{Base: 0x400000, Len: 8}}, 0)
			return refused(err)
		}},
		attack{who: "C", name: "take its parent's descriptors", right: "refused", in: func(*self) result { return refused(takeDescriptor(os.Getppid())) }},
		attack{who: "C", name: "compare descriptors with its parent", right: "refused", in: func(*self) result {
			_, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(os.Getpid()), uintptr(os.Getppid()), 0, 0, 0, 0)
			return refused(number(errno))
		}},
		attack{who: "C", name: "use descriptors besides MCP, its error output and the certificate", right: "none", in: func(*self) result { return none(descriptors()) }},
		attack{who: "C", name: "find secrets in its environment and arguments", right: "only what it needs", in: func(*self) result {
			allowed := []string{"PATH", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "GOMAXPROCS", "GOGC"}
			var found []string
			for _, kv := range os.Environ() {
				if name, _, _ := strings.Cut(kv, "="); !slices.Contains(allowed, name) {
					found = append(found, kv)
				}
			}
			if len(os.Args) != 7 {
				found = append(found, os.Args...)
			}
			return none(found)
		}},
		attack{who: "C", name: "enter its parent's namespaces", right: "refused", in: func(*self) result {
			return each([]string{"mnt", "net", "user", "pid", "ipc"}, func(ns string) error {
				fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/%s", os.Getppid(), ns), unix.O_RDONLY, 0)
				if err != nil {
					return err
				}
				return unix.Setns(fd, 0)
			}, fs.ErrNotExist)
		}},
	)
}

func localProcesses() []attack {
	all := []attack{
		{who: "L", name: "end the package's processes", right: "refused", in: (*self).kill},
		{who: "L", name: "trace the package's processes", right: "refused", in: func(s *self) result {
			return s.others(func(pid int) error { return unix.PtraceSeize(pid) })
		}},
		{who: "L", name: "read the package's memory", right: "refused", in: func(s *self) result { return s.others(vmRead) }},
		{who: "L", name: "take the package's descriptors", right: "refused", in: func(s *self) result { return s.others(takeDescriptor) }},
		{who: "L", name: "change the package's limits", right: "refused", in: func(s *self) result {
			return s.others(func(pid int) error { return unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1, Max: 1}, nil) })
		}},
		{who: "L", name: "slow the package's processes down", right: "refused", in: func(s *self) result {
			return s.others(func(pid int) error { return unix.Setpriority(unix.PRIO_PROCESS, pid, 19) })
		}},
		{who: "L", name: "bind the package's processes to a processor", right: "refused", in: func(s *self) result {
			var set unix.CPUSet
			set.Set(0)
			return s.others(func(pid int) error { return unix.SchedSetaffinity(pid, &set) })
		}},
	}
	for _, way := range ways {
		if way == "task" {
			continue
		}
		all = append(all, attack{who: "L", name: "look at the package's " + way, right: "refused", in: func(s *self) result {
			if way == "fdinfo" || way == "io" {
				return s.others(func(pid int) error { return look(pid, way) }, fs.ErrNotExist)
			}
			return s.others(func(pid int) error { return look(pid, way) })
		}})
	}
	return all
}

// others wants something to be refused for every process of the package but what is
// alice's where alice's child tries it.
func (s *self) others(try func(int) error, further ...error) result {
	r := result{false, "no processes"}
	for name, pid := range s.Pids {
		if s.who == "C" && strings.HasSuffix(name, "of alice") || s.who == "B" && name == "fjmcp-broker.service" {
			continue
		}
		if r = refused(try(pid), further...); !r.OK {
			return verdict(false, "%s: %s", name, r.Got)
		}
	}
	return r
}

func (s *self) kill() result {
	return s.others(func(pid int) error { return syscall.Kill(pid, syscall.SIGKILL) })
}

// look opens a file of /proc/<pid> and reads of it, lists a directory, reads a link.
func look(pid int, what string) error {
	path := fmt.Sprintf("/proc/%d/%s", pid, what)
	switch what {
	case "fd", "map_files", "fdinfo":
		_, err := os.ReadDir(path)
		return err
	case "exe":
		_, err := os.Readlink(path)
		return err
	case "root", "cwd":
		_, err := os.ReadDir(path + "/")
		return err
	case "mem":
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err == nil {
			f.Close()
		}
		return err
	}
	b, err := os.ReadFile(path)
	if err == nil && len(b) == 0 {
		return unix.EACCES // what is not to be seen is empty
	}
	return err
}

func vmRead(pid int) error {
	b := make([]byte, 8)
	_, err := unix.ProcessVMReadv(pid, []unix.Iovec{{Base: &b[0], Len: 8}}, []unix.RemoteIovec{{Base: 0x400000, Len: 8}}, 0)
	return err
}

func takeDescriptor(pid int) error {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	for fd := range 16 {
		if _, err = unix.PidfdGetfd(pidfd, fd, 0); err == nil {
			return nil
		}
	}
	return err
}

// descriptors are those that this process was not meant to have: besides 0 to 3, what
// the runtime and its connections opened.
func descriptors() (found []string) {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		known := strings.HasPrefix(target, "anon_inode:[event") || strings.HasPrefix(target, "/proc/") || strings.HasPrefix(target, "/sys/fs/cgroup/") || strings.HasPrefix(target, "socket:") && inet(e.Name())
		if err == nil && !known && !slices.Contains([]string{"0", "1", "2", "3"}, e.Name()) {
			found = append(found, e.Name()+" "+target)
		}
	}
	return found
}

func inet(fd string) bool {
	var n int
	fmt.Sscan(fd, &n)
	domain, err := unix.GetsockoptInt(n, unix.SOL_SOCKET, unix.SO_DOMAIN)
	return err == nil && domain != unix.AF_UNIX
}

// programs wants every one of the commands to fail.
func programs(commands [][]string) result {
	var last result
	for _, argv := range commands {
		out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
		var exit *exec.ExitError
		if last = verdict(errors.As(err, &exit), "%s: %s", strings.Join(argv, " "), out); !last.OK {
			return last
		}
	}
	return last
}

func number(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}
