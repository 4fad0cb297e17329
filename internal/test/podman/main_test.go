package podman

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// missing says why there are no containers to test with.
var missing error

// inside is set in the process that runs the tests, in namespaces of its own.
const inside = "FJMCP_TEST_INSIDE"

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	if missing = lacking(); missing != nil {
		if os.Getenv("CI") != "" {
			return 1, missing
		}
		return m.Run(), nil
	}
	if os.Getenv(inside) == "" {
		return reexec()
	}
	remove, err := prepare()
	if err != nil {
		return 1, err
	}
	defer remove()
	return m.Run(), nil
}

// lacking says what this machine lacks. The packages are those of .ci/deps.
func lacking() error {
	if os.Geteuid() != 0 {
		return errors.New("containers need root")
	}
	for _, tool := range []string{"podman", "crun", "iptables", "catatonit", "podman-compose", "unshare", "make"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("the image is tested with %s, which is not here", tool)
		}
	}
	for _, file := range []string{"/usr/lib/podman/netavark", "/usr/lib/podman/aardvark-dns", busybox, seccompProfile} {
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("the image is tested with %s, which is not here", file)
		}
	}
	return nil
}

// reexec runs this program again as the first process of namespaces of its own: with
// it all that it started ends. /run and /dev/shm are empty there, since that is where
// Podman keeps what is to be gone after a boot. crun wants control groups of version 2
// alone, whatever this machine has beside them.
func reexec() (int, error) {
	const setup = `mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /dev/shm &&
		umount --lazy /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup &&
		` + busybox + ` ip link set lo up && ` + busybox + ` ip address add ` + forgeIP + ` dev lo && exec "$0" "$@"`
	args := []string{"--net", "--mount", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", setup}
	cmd := exec.Command("unshare", append(args, os.Args...)...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	runtime.LockOSThread() // its end would be taken for this process's
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	}
	return 0, err
}

// dir holds the images, and is empty when the tests begin.
var dir string

// prepare makes Podman work in this process's namespaces and builds what the image is
// built from. The function that it returns takes away what is on disk.
func prepare() (remove func(), err error) {
	cache := os.Getenv("FJMCP_TEST_CACHE")
	if cache == "" {
		cache = "/var/cache/fjmcp-test"
	}
	dir = filepath.Join(cache, "podman")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	lock, err := os.Create(dir + ".lock")
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil { // another run's, until that ends
		return nil, err
	}
	if err := os.RemoveAll(dir); err != nil { // a killed run's
		return nil, err
	}
	remove = func() {
		_, _ = podman("rm", "--all", "--force", "--time", "0")
		_ = os.RemoveAll(dir)
		lock.Close()
	}
	if err := errors.Join(configure(), bases(), backend()); err != nil {
		remove()
		return nil, err
	}
	return remove, nil
}

// configure has every podman started from here, by make and by podman-compose as well,
// use this directory. Where the tests run in a container themselves, Podman may neither
// make control groups with limits nor raise those of setrlimit(2).
func configure() error {
	for _, d := range []string{"containers", "networks", "tmp", "lib"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	driver := "overlay"
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return err
	}
	if fs.Type == unix.OVERLAYFS_SUPER_MAGIC { // which does not go on top of itself
		driver = "vfs"
	}
	for name, text := range map[string]string{
		"containers.conf": `
[containers]
cgroups = "disabled"
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
[engine]
runtime = "crun"
cgroup_manager = "cgroupfs"
events_logger = "file"
image_copy_tmp_dir = "` + dir + `/tmp"
[network]
network_backend = "netavark"
network_config_dir = "` + dir + `/networks"
`,
		"storage.conf": `
[storage]
driver = "` + driver + `"
graphroot = "` + dir + `/lib"
runroot = "/run/containers/storage"
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return errors.Join(
		os.Setenv("CONTAINERS_CONF", filepath.Join(dir, "containers.conf")),
		os.Setenv("CONTAINERS_STORAGE_CONF", filepath.Join(dir, "storage.conf")),
		os.Setenv("DISABLE_HC_SYSTEMD", "true")) // there is none to set timers for health checks
}

// podman runs it and returns its standard output.
func podman(args ...string) (string, error) {
	return command("podman", args...)
}

func command(name string, args ...string) (string, error) {
	var stderr strings.Builder
	cmd := exec.Command(name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out)), err
}
