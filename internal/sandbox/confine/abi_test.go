package confine

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestMain also plays the backend.
func TestMain(m *testing.M) {
	if target := os.Getenv("FJMCP_TEST_TRY"); target != "" {
		var at targets
		if err := json.Unmarshal([]byte(target), &at); err != nil {
			panic(err)
		}
		_ = json.NewEncoder(os.Stdout).Encode(at.try())
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// targets are what a backend is to leave alone, and the one port that it may use.
type targets struct {
	Dir           string // holds the files "secret" and "other"
	PID           int    // of the same uid
	Allowed, Port int
}

// try does what a hostile backend would do and tells what came of it, "" for success.
func (a targets) try() map[string]string {
	got := map[string]string{}
	for what, try := range a.attempts() {
		got[what] = ""
		if err := try(); err != nil {
			got[what] = err.Error()
		}
	}
	return got
}

func (a targets) attempts() map[string]func() error {
	secret, other := filepath.Join(a.Dir, "secret"), filepath.Join(a.Dir, "other")
	open := func(path string, flags int) func() error {
		return func() error {
			fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
			if err == nil {
				unix.Close(fd)
			}
			return err
		}
	}
	call := func(nr uintptr, args ...uintptr) func() error {
		return func() error {
			var six [6]uintptr
			copy(six[:], args)
			if _, _, errno := unix.Syscall6(nr, six[0], six[1], six[2], six[3], six[4], six[5]); errno != 0 {
				return errno
			}
			return nil
		}
	}
	pid := uintptr(a.PID)
	var info [128]byte
	*(*int32)(unsafe.Pointer(&info[8])) = -1 // SI_QUEUE
	return map[string]func() error{
		"file: read":    open(secret, unix.O_RDONLY),
		"file: write":   open(secret, unix.O_WRONLY),
		"file: create":  open(filepath.Join(a.Dir, "new"), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL),
		"file: list":    func() error { _, err := os.ReadDir(a.Dir); return err },
		"file: mkdir":   func() error { return os.Mkdir(filepath.Join(a.Dir, "made"), 0o700) },
		"file: socket":  func() error { return unix.Mknod(filepath.Join(a.Dir, "sock"), unix.S_IFSOCK|0o600, 0) },
		"file: symlink": func() error { return os.Symlink("/", filepath.Join(a.Dir, "symlink")) },
		"file: link":    func() error { return os.Link(secret, filepath.Join(a.Dir, "link")) },
		"file: rename":  func() error { return os.Rename(other, other+"2") },

		"truncate":              func() error { return unix.Truncate(secret, 0) },
		"truncate by opening":   open(secret, unix.O_ACCMODE|unix.O_TRUNC),
		"truncate what is read": open("/dev/zero", unix.O_RDONLY|unix.O_TRUNC),
		"openat2": func() error {
			_, err := unix.Openat2(unix.AT_FDCWD, "/dev/zero", &unix.OpenHow{Flags: unix.O_TRUNC})
			return err
		},

		"metadata: chmod":    func() error { return os.Chmod(secret, 0o666) },
		"metadata: chown":    func() error { return os.Chown(secret, os.Getuid(), os.Getgid()) },
		"metadata: utimes":   func() error { return unix.Utimes(secret, make([]unix.Timeval, 2)) },
		"metadata: setxattr": func() error { return unix.Setxattr(secret, "user.fjmcp", []byte("x"), 0) },
		"metadata: watch":    a.watch,

		"process: kill":          func() error { return unix.Kill(a.PID, 0) },
		"process: tgkill":        func() error { return unix.Tgkill(a.PID, a.PID, 0) },
		"process: sigqueue":      call(unix.SYS_RT_SIGQUEUEINFO, pid, uintptr(unix.SIGURG), uintptr(unsafe.Pointer(&info))),
		"process: pidfd":         a.pidfd,
		"process: prlimit":       func() error { return unix.Prlimit(a.PID, unix.RLIMIT_NOFILE, nil, new(unix.Rlimit)) },
		"process: affinity":      func() error { return unix.SchedSetaffinity(a.PID, &unix.CPUSet{1}) },
		"process: priority":      func() error { return unix.Setpriority(unix.PRIO_PROCESS, a.PID, 0) },
		"process: scheduler":     call(unix.SYS_SCHED_SETSCHEDULER, pid, 0, uintptr(unsafe.Pointer(new(int32)))),
		"process: leave group":   call(unix.SYS_SETPGID, 0, 0),
		"process: leave session": call(unix.SYS_SETSID),
		"process: namespace":     call(unix.SYS_UNSHARE, unix.CLONE_NEWUSER),
		"process: keyring": func() error {
			_, err := unix.AddKey("user", "fjmcp", []byte("x"), unix.KEY_SPEC_USER_KEYRING)
			return err
		},
		"process: shared memory": call(unix.SYS_SHMGET, 0, 4096, 0o600),

		"tcp: allowed":   func() error { return a.connect(unix.SOCK_STREAM, 0, a.Allowed) },
		"tcp":            func() error { return a.connect(unix.SOCK_STREAM, 0, a.Port) },
		"network: mptcp": func() error { return a.connect(unix.SOCK_STREAM, unix.IPPROTO_MPTCP, a.Port) },
		"network: udp":   func() error { return a.connect(unix.SOCK_DGRAM, 0, a.Port) },
		"network: unix":  func() error { return a.connectAbstract() },
	}
}

func (a targets) watch() error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.InotifyAddWatch(fd, a.Dir, unix.IN_ALL_EVENTS)
	return err
}

func (a targets) pidfd() error {
	fd, err := unix.PidfdOpen(a.PID, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.PidfdSendSignal(fd, 0, nil, 0)
}

func (a targets) connect(kind, protocol, port int) error {
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
}

func (a targets) connectAbstract() error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Connect(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("@fjmcp-confine-test-%d", a.PID)})
}

// tryUnder confines a backend as a kernel with that Landlock ABI would let us.
func tryUnder(t *testing.T, abi int) (got map[string]string, p *Process) {
	t.Helper()
	at := targets{Dir: t.TempDir(), PID: os.Getpid()}
	for _, name := range []string{"secret", "other"} {
		if err := os.WriteFile(filepath.Join(at.Dir, name), []byte("content"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var ports [2]int
	for i := range ports {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	at.Allowed, at.Port = ports[0], ports[1]
	abstract, err := net.Listen("unix", fmt.Sprintf("@fjmcp-confine-test-%d", at.PID))
	if err != nil {
		t.Fatal(err)
	}
	defer abstract.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	target, _ := json.Marshal(at)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err = start([]string{self}, []string{"FJMCP_TEST_TRY=" + string(target)}, []*os.File{nil, w, os.Stderr}, []int{at.Allowed}, abi)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(r).Decode(&got); err != nil {
		t.Fatal(err)
	}
	<-p.Exited()
	if text, err := os.ReadFile(filepath.Join(at.Dir, "secret")); abi > 0 && (err != nil || string(text) != "content") {
		t.Errorf("the file is now %q, %v", text, err)
	}
	return got, p
}

// What older kernels lack is known: nothing of it concerns files, and what concerns the
// network is told.
func TestOlderLandlock(t *testing.T) {
	if landlockABI() == 0 {
		t.Skip("SKIP: this kernel offers no Landlock")
	}
	for abi := range landlockABI() + 1 {
		t.Run(fmt.Sprint("ABI ", abi), func(t *testing.T) {
			got, p := tryUnder(t, abi)
			for what, result := range got {
				lost := abi == 0 && strings.HasPrefix(what, "file: ") || abi < 4 && what == "tcp"
				refused := strings.Contains(result, "not permitted") || strings.Contains(result, "permission denied") || result == "function not implemented"
				if refused == (lost || what == "tcp: allowed") {
					t.Errorf("%s: %q", what, result)
				}
			}
			if told := strings.Contains(p.Warning, "sees all files"); told != (abi == 0) {
				t.Errorf("of files the warning says %q", p.Warning)
			}
			if p.AnyPort != (abi < 4) {
				t.Errorf("that any port can be reached is told: %v", p.AnyPort)
			}
		})
	}
}
