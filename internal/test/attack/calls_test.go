package attack

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// x32 is what an amd64 kernel takes for a call of the x32 ABI; others know no such call.
const x32 = 0x40000000

// closedCalls are system calls that neither a child nor the broker has use for. Their
// arguments are such that a call that is let through fails in another way, or does no
// harm.
var closedCalls = []struct {
	name string
	nr   uintptr
	args [4]uintptr
}{
	{"io_uring_setup", unix.SYS_IO_URING_SETUP, [4]uintptr{1}},
	{"io_setup", unix.SYS_IO_SETUP, [4]uintptr{1}},
	{"bpf", unix.SYS_BPF, [4]uintptr{0}},
	{"perf_event_open", unix.SYS_PERF_EVENT_OPEN, [4]uintptr{0}},
	{"userfaultfd", unix.SYS_USERFAULTFD, [4]uintptr{1 << 20}},
	{"keyctl", unix.SYS_KEYCTL, [4]uintptr{0, ^uintptr(2), 1}}, // the session's keyring
	{"add_key", unix.SYS_ADD_KEY, [4]uintptr{0}},
	{"request_key", unix.SYS_REQUEST_KEY, [4]uintptr{0}},
	{"kexec_load", unix.SYS_KEXEC_LOAD, [4]uintptr{0}},
	{"init_module", unix.SYS_INIT_MODULE, [4]uintptr{0}},
	{"finit_module", unix.SYS_FINIT_MODULE, [4]uintptr{^uintptr(0)}},
	{"delete_module", unix.SYS_DELETE_MODULE, [4]uintptr{0}},
	{"mount", unix.SYS_MOUNT, [4]uintptr{0}},
	{"umount2", unix.SYS_UMOUNT2, [4]uintptr{0, ^uintptr(0)}},
	{"pivot_root", unix.SYS_PIVOT_ROOT, [4]uintptr{0}},
	{"chroot", unix.SYS_CHROOT, [4]uintptr{0}},
	{"fsopen", unix.SYS_FSOPEN, [4]uintptr{0}},
	{"open_tree", unix.SYS_OPEN_TREE, [4]uintptr{^uintptr(0), 0, 1}},
	{"move_mount", unix.SYS_MOVE_MOUNT, [4]uintptr{^uintptr(0)}},
	{"open_by_handle_at", unix.SYS_OPEN_BY_HANDLE_AT, [4]uintptr{0}},
	{"fanotify_init", unix.SYS_FANOTIFY_INIT, [4]uintptr{^uintptr(0)}},
	{"quotactl", unix.SYS_QUOTACTL, [4]uintptr{0}},
	{"swapon", unix.SYS_SWAPON, [4]uintptr{0}},
	{"acct", unix.SYS_ACCT, [4]uintptr{1}},
	{"reboot", unix.SYS_REBOOT, [4]uintptr{0}},
	{"syslog", unix.SYS_SYSLOG, [4]uintptr{3, 0, 0}},
	{"vhangup", unix.SYS_VHANGUP, [4]uintptr{0}},
	{"settimeofday", unix.SYS_SETTIMEOFDAY, [4]uintptr{1}},
	{"clock_settime", unix.SYS_CLOCK_SETTIME, [4]uintptr{99}},
	{"sethostname", unix.SYS_SETHOSTNAME, [4]uintptr{1, 1}},
	{"unshare", unix.SYS_UNSHARE, [4]uintptr{unix.CLONE_NEWUSER}},
	{"clone3", unix.SYS_CLONE3, [4]uintptr{0}},
	{"setns", unix.SYS_SETNS, [4]uintptr{^uintptr(0), unix.CLONE_NEWNET}},
	{"personality", unix.SYS_PERSONALITY, [4]uintptr{0x0400000}}, // READ_IMPLIES_EXEC
	{"sched_setscheduler", unix.SYS_SCHED_SETSCHEDULER, [4]uintptr{0, 1, 1}},
	{"setpriority", unix.SYS_SETPRIORITY, [4]uintptr{0, 0, ^uintptr(19)}},
	{"ioprio_set", unix.SYS_IOPRIO_SET, [4]uintptr{1, 0, 1 << 13}},
	{"mbind", unix.SYS_MBIND, [4]uintptr{1}},
	{"x32 getpid", x32 | unix.SYS_GETPID, [4]uintptr{}},
	{"x32 socket", x32 | unix.SYS_SOCKET, [4]uintptr{unix.AF_UNIX, unix.SOCK_STREAM}},
}

// calls are attacks by system calls, for a child and for whoever is in the broker's place.
func calls(who string) (all []attack) {
	for _, c := range closedCalls {
		all = append(all, attack{who: who, name: "call " + c.name, right: "refused", in: func(*self) result {
			return refused(onThread(func() error {
				_, _, errno := unix.Syscall6(c.nr, c.args[0], c.args[1], c.args[2], c.args[3], 0, 0)
				return number(errno)
			}), unix.ENOSYS, errEnded)
		}})
	}
	families := map[string]int{"netlink": unix.AF_NETLINK, "packet": unix.AF_PACKET, "vsock": unix.AF_VSOCK, "alg": unix.AF_ALG, "key": unix.AF_KEY, "bluetooth": unix.AF_BLUETOOTH, "xdp": unix.AF_XDP}
	for _, name := range sorted(families) {
		family := families[name]
		all = append(all, attack{who: who, name: "open a socket of " + name, right: "refused", in: func(*self) result { return refused(openSocket(family, unix.SOCK_RAW, 0), unix.EAFNOSUPPORT) }})
	}
	return append(all,
		attack{who: who, name: "open a raw socket", right: "refused", in: func(*self) result { return refused(openSocket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)) }},
		attack{who: who, name: "become another user", right: "refused", in: func(*self) result {
			return each([]string{"0", "1", "1000"}, func(id string) error {
				n, _ := strconv.Atoi(id)
				if err := syscall.Setgid(n); err == nil {
					return nil
				}
				return syscall.Setuid(n)
			}, unix.EINVAL)
		}},
		attack{who: who, name: "take on groups", right: "refused", in: func(*self) result { return refused(syscall.Setgroups([]int{0})) }},
		attack{who: who, name: "begin a user namespace", right: "refused", in: func(*self) result {
			cmd := exec.Command("/usr/bin/true")
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
			return refused(cmd.Run())
		}},
		attack{who: who, name: "run code from memory", right: "refused", in: func(*self) result {
			m, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_ANON|unix.MAP_PRIVATE)
			if err == nil {
				unix.Munmap(m)
			}
			return refused(err)
		}},
		attack{who: who, name: "turn memory into code", right: "refused", in: func(*self) result {
			m, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
			if err != nil {
				return result{false, err.Error()}
			}
			defer unix.Munmap(m)
			return refused(unix.Mprotect(m, unix.PROT_READ|unix.PROT_EXEC))
		}},
		attack{who: who, name: "raise its limits", right: "refused", in: func(*self) result {
			return each([]string{"core", "processes", "files"}, func(what string) error {
				resource := map[string]int{"core": unix.RLIMIT_CORE, "processes": unix.RLIMIT_NPROC, "files": unix.RLIMIT_NOFILE}[what]
				var limit unix.Rlimit
				if err := unix.Getrlimit(resource, &limit); err != nil {
					return err
				}
				if what == "core" && limit.Max != 0 {
					return nil
				}
				if limit.Max == unix.RLIM_INFINITY {
					return unix.EPERM // the unit's TasksMax= bounds it
				}
				limit.Max++
				return unix.Prlimit(0, resource, &limit, nil)
			})
		}},
		attack{who: who, name: "take back that it gains no privileges", right: "refused", in: func(*self) result {
			return refused(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), unix.EINVAL)
		}},
		attack{who: who, name: "take back its filter", right: "refused", in: func(*self) result {
			return refused(unix.Prctl(unix.PR_SET_SECCOMP, 0, 0, 0, 0), unix.EINVAL)
		}},
	)
}

func brokerCalls() []attack { return calls("B") }

func childCalls() []attack {
	return append(calls("C"),
		attack{who: "C", name: "open a unix socket", right: "refused", in: func(*self) result { return refused(openSocket(unix.AF_UNIX, unix.SOCK_STREAM, 0)) }},
		attack{who: "C", name: "open a pair of unix sockets", right: "refused", in: func(*self) result {
			_, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
			return refused(err)
		}},
		attack{who: "C", name: "make a file in memory", right: "refused", in: func(*self) result {
			_, err := unix.MemfdCreate("attack", 0)
			return refused(err)
		}},
		attack{who: "C", name: "type into a terminal", right: "there is none", in: func(*self) result {
			return each([]string{"0", "1", "2"}, func(fd string) error {
				n, _ := strconv.Atoi(fd)
				return unix.IoctlSetPointerInt(n, unix.TIOCSTI, 'x')
			}, unix.ENOTTY, unix.EIO, unix.EINVAL, unix.EOPNOTSUPP)
		}},
		attack{who: "C", name: "start more processes than it may", right: "fewer than 128", in: (*self).forkBomb},
		attack{who: "C", name: "take more memory than it may", right: "refused below 2 GB", in: func(*self) result {
			m, err := unix.Mmap(-1, 0, 2<<30, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
			if err == nil {
				unix.Munmap(m)
			}
			return refused(err, unix.ENOMEM)
		}},
		attack{who: "C", name: "open more files than it may", right: "at most 1024", in: func(*self) result {
			var all []*os.File
			defer func() {
				for _, f := range all {
					f.Close()
				}
			}()
			for range 2000 {
				f, err := os.Open("/dev/null")
				if err != nil {
					return verdict(errors.Is(err, unix.EMFILE) && len(all) <= 1024, "%d, then %v", len(all), err)
				}
				all = append(all, f)
			}
			return verdict(false, "%d", len(all))
		}},
	)
}

// errEnded says that the kernel has ended the thread that made a call.
var errEnded = errors.New("the thread was ended")

// onThread calls f on a thread of its own, which may not outlive it: for a call of
// another architecture a filter ends a thread.
func onThread(f func() error) error {
	done, id := make(chan error, 1), make(chan int, 1)
	go func() {
		runtime.LockOSThread()
		id <- unix.Gettid()
		done <- f()
	}()
	task := fmt.Sprintf("/proc/self/task/%d", <-id)
	for {
		select {
		case err := <-done:
			return err
		case <-time.After(time.Millisecond):
		}
		if _, err := os.Stat(task); err != nil && len(done) == 0 {
			return errEnded
		}
	}
}

func openSocket(family, kind, protocol int) error {
	fd, err := unix.Socket(family, kind, protocol)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

func (s *self) forkBomb() result {
	var all []*exec.Cmd
	defer func() {
		for _, cmd := range all {
			cmd.Process.Kill()
			cmd.Wait()
		}
	}()
	for range 300 {
		cmd := exec.Command("/usr/bin/sleep", "60")
		if err := cmd.Start(); err != nil {
			return verdict(errors.Is(err, unix.EAGAIN) && len(all) < 128, "%d, then %v", len(all), err)
		}
		all = append(all, cmd)
	}
	return verdict(false, "%d", len(all))
}

func childNetwork() []attack {
	return []attack{
		{who: "C", name: "connect to every port of its loopback", right: "the proxy's and the forge's alone", in: func(s *self) result {
			var open []string
			for port := 1; port < 1<<16; port++ {
				fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
				if err != nil {
					return result{false, "cannot try: " + err.Error()}
				}
				if unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}) == nil {
					open = append(open, strconv.Itoa(port))
				}
				unix.Close(fd)
			}
			return none(without(open, strings.Split(proxyAddress(), ":")[1], "3000"))
		}},
		{who: "C", name: "connect to other addresses", right: "refused", in: func(*self) result {
			return each([]string{"10.0.0.1:80", "169.254.169.254:80", "192.168.1.1:443", "8.8.8.8:53", "[2001:db8::1]:80", "[fe80::1%lo]:80"}, func(address string) error {
				conn, err := net.DialTimeout("tcp", address, time.Second)
				if err == nil {
					conn.Close()
				}
				return err
			}, unix.ENETUNREACH, unix.EADDRNOTAVAIL, unix.EHOSTUNREACH, unix.EINVAL, unix.ECONNREFUSED)
		}},
		{who: "C", name: "send datagrams to other addresses", right: "refused", in: func(*self) result {
			return each([]string{"8.8.8.8:53", "10.0.0.1:53", "255.255.255.255:9"}, func(address string) error {
				conn, err := net.Dial("udp", address)
				if err != nil {
					return err
				}
				defer conn.Close()
				_, err = conn.Write([]byte("x"))
				return err
			}, unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EPERM)
		}},
		{who: "C", name: "find another network device", right: "loopback alone", in: func(*self) result {
			b, err := os.ReadFile("/proc/net/dev")
			var found []string
			for line := range strings.Lines(string(b)) {
				if name, _, is := strings.Cut(strings.TrimSpace(line), ":"); is && name != "lo" {
					found = append(found, name)
				}
			}
			if err != nil && !errors.Is(err, os.ErrNotExist) { // /proc need not tell
				return result{false, err.Error()}
			}
			return none(found)
		}},
		{who: "C", name: "connect past the filter by another protocol", right: "refused", in: func(*self) result {
			// Landlock's rules are about TCP.
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 262) // IPPROTO_MPTCP
			if err != nil {
				return refused(err, unix.EPROTONOSUPPORT, unix.ENOPROTOOPT)
			}
			defer unix.Close(fd)
			return refused(unix.Connect(fd, &unix.SockaddrInet4{Port: 8080, Addr: [4]byte{127, 0, 0, 1}}), unix.ECONNREFUSED)
		}},
	}
}
