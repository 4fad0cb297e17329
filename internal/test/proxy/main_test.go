package proxy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fjmcp/fjmcp-broker/internal/test/programs"
	"github.com/fjmcp/fjmcp-broker/internal/test/testcache"
)

var (
	bin     string // the programs under test
	debian  string // the unpacked packages
	missing error  // why these tests cannot run here
)

// insideOf tells the process in the network of its own where the two directories are.
const insideOf = "FJMCP_PROXYTEST"

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	if dirs := os.Getenv(insideOf); dirs != "" {
		both := filepath.SplitList(dirs)
		bin, debian = both[0], both[1]
		if err := furnish(); err != nil {
			return 1, fmt.Errorf("cannot set up a network and a file system for the tests: %w", err)
		}
		return m.Run(), nil
	}
	if missing = prepare(); missing != nil {
		if os.Getenv("CI") != "" {
			return 1, missing
		}
		return m.Run(), nil
	}
	var err error
	if bin, err = os.MkdirTemp("", "fjmcp-proxytest-"); err != nil {
		return 1, err
	}
	defer os.RemoveAll(bin)
	if err := programs.Build(context.Background(), bin, "fjmcp-broker", "fjmcp-session", "fjmcpctl", programs.Standin, programs.Everything); err != nil {
		return 1, err
	}
	return again()
}

func prepare() (err error) {
	if os.Geteuid() != 0 {
		return errors.New("needs root, for a network of its own")
	}
	debian, err = testcache.Unpacked(context.Background(), "caddy", "nginx", "nginx-common")
	return err
}

// again runs this test program once more, in namespaces of its own.
func again() (int, error) {
	runtime.LockOSThread() // Pdeathsig looks at the thread
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), insideOf+"="+bin+string(filepath.ListSeparator)+debian)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return max(failed.ExitCode(), 1), nil
	}
	if err != nil {
		return 1, fmt.Errorf("cannot run the tests in a network of their own: %w", err)
	}
	return 0, nil
}

// furnish gives the namespaces a loopback, and directories that nobody else sees.
func furnish() error {
	if err := loopbackUp(); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := nameTheProxy(); err != nil {
		return err
	}
	for _, dir := range []string{"/run", "/var/log"} {
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
	}
	return nil
}

// nameTheProxy has programs find the host of the public URL here, as the doctor and the
// broker do to see where it leads.
func nameTheProxy() error {
	hosts := filepath.Join(bin, "hosts")
	if err := os.WriteFile(hosts, []byte("127.0.0.1 localhost "+name+" git.example.org\n"), 0o644); err != nil {
		return err
	}
	return unix.Mount(hosts, "/etc/hosts", "", unix.MS_BIND, "")
}

func loopbackUp() error {
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	lo.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, lo)
}
