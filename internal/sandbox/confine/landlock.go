package confine

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	landlockRead  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	landlockExec  = landlockRead | unix.LANDLOCK_ACCESS_FS_EXECUTE
	landlockWrite = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE

	// What a rule on a file that is no directory may grant (landlock(7)).
	landlockOnFiles = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE

	landlockRuleNetPort = 2 // LANDLOCK_RULE_NET_PORT, ABI 4

	// The ABIs that brought what is used here (landlock(7)).
	landlockTruncate = 3
	landlockNetwork  = 4
	landlockScopes   = 6
)

// landlockNetPort is struct landlock_net_port_attr, which x/sys/unix lacks.
type landlockNetPort struct{ access, port uint64 }

// landlockPaths is what a backend may do in the file system; all else is denied.
// Paths that do not exist are passed over.
var landlockPaths = map[string]uint64{
	"/usr": landlockExec, "/lib": landlockExec, "/lib64": landlockExec, "/bin": landlockExec,
	// Not /sys: below it the control groups name the units and processes of all sessions.
	"/proc": landlockRead,
	// Of /etc only what libraries look up: below it lie the broker's own
	// credentials, which file modes do not hide from a session run as root.
	"/etc/ld.so.cache": landlockRead, "/etc/hosts": landlockRead, "/etc/resolv.conf": landlockRead,
	"/etc/nsswitch.conf": landlockRead, "/etc/localtime": landlockRead, "/etc/mime.types": landlockRead,
	"/etc/passwd": landlockRead, "/etc/group": landlockRead, "/etc/services": landlockRead,
	// Of /dev only what holds nothing.
	"/dev/null": landlockWrite, "/dev/zero": landlockWrite, "/dev/full": landlockWrite,
	"/dev/random": landlockWrite, "/dev/urandom": landlockWrite,
}

// errNoLandlock says that the kernel, or a filter around us, offers no Landlock.
var errNoLandlock = errors.New("the kernel offers no Landlock")

// Landlock reports whether the kernel would keep a backend from files, as far as this
// process can tell. Where it would not, Start only warns.
func Landlock() bool { return landlockABI() > 0 }

// LandlockABI is the version of what the kernel has of it, 0 for nothing (landlock(7)).
func LandlockABI() int { return landlockABI() }

// landlockABI returns the kernel's Landlock ABI version, 0 for none.
func landlockABI() int {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(v)
}

// restrictPaths confines the calling thread and what it starts, for good, to
// landlockPaths, the binary and TCP connections to ports. The thread must have
// no_new_privs set.
func restrictPaths(binary string, ports []int, abi int) error {
	if abi == 0 {
		return errNoLandlock
	}
	attr := unix.LandlockRulesetAttr{Handled_access_fs: unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1} // all of ABI 1
	if abi >= landlockTruncate {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= landlockNetwork {
		attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_CONNECT_TCP | unix.LANDLOCK_ACCESS_NET_BIND_TCP
	}
	if abi >= landlockScopes {
		attr.Scoped = unix.LANDLOCK_SCOPE_SIGNAL | unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
	}
	ruleset, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), landlockAttrSize(abi), 0)
	if errno != 0 {
		return fmt.Errorf("cannot create a Landlock ruleset: %w", errno)
	}
	defer unix.Close(int(ruleset))
	if err := addRules(int(ruleset), binary, ports, abi); err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0, 0); errno != 0 {
		return fmt.Errorf("cannot enter the Landlock ruleset: %w", errno)
	}
	return nil
}

// landlockAttrSize is how much of struct landlock_ruleset_attr the kernel knows: access_fs,
// then access_net, then scoped.
func landlockAttrSize(abi int) uintptr {
	switch {
	case abi >= landlockScopes:
		return 24
	case abi >= landlockNetwork:
		return 16
	}
	return 8
}

func addRules(ruleset int, binary string, ports []int, abi int) error {
	for path, access := range landlockPaths {
		if err := allowPath(ruleset, path, access); err != nil {
			return err
		}
	}
	if err := allowPath(ruleset, binary, landlockExec); err != nil {
		return err
	}
	if abi < landlockNetwork {
		return nil
	}
	for _, port := range ports {
		rule := landlockNetPort{access: unix.LANDLOCK_ACCESS_NET_CONNECT_TCP, port: uint64(port)}
		if err := addRule(ruleset, landlockRuleNetPort, unsafe.Pointer(&rule)); err != nil {
			return fmt.Errorf("cannot allow port %d: %w", port, err)
		}
	}
	return nil
}

func allowPath(ruleset int, path string, access uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot allow %s: %w", path, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("cannot allow %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		access &= landlockOnFiles
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
	if err := addRule(ruleset, unix.LANDLOCK_RULE_PATH_BENEATH, unsafe.Pointer(&rule)); err != nil {
		return fmt.Errorf("cannot allow %s: %w", path, err)
	}
	return nil
}

func addRule(ruleset, kind int, rule unsafe.Pointer) error {
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), uintptr(kind), uintptr(rule), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
