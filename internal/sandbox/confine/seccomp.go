package confine

import (
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data (seccomp(2)). dataArgLow is the low half of the
// first argument, on little-endian machines; the next follow every dataArgSize.
const (
	dataNr      = 0
	dataArch    = 4
	dataArgLow  = 16
	dataArgSize = 8

	x32Bit = 0x40000000 // set in the numbers of the x32 ABI on amd64
)

// auditArch maps runtime.GOARCH to the architecture a native system call shows. The
// package is for these (debian/control).
var auditArch = map[string]uint32{
	"amd64":   unix.AUDIT_ARCH_X86_64,
	"arm64":   unix.AUDIT_ARCH_AARCH64,
	"loong64": unix.AUDIT_ARCH_LOONGARCH64,
	"ppc64le": unix.AUDIT_ARCH_PPC64LE,
	"riscv64": unix.AUDIT_ARCH_RISCV64,
}

// deniedCalls fail with EPERM. Landlock does not look at any of them, and other
// processes of this uid, or the broker's files, may be what they are for.
var deniedCalls = []uint32{
	// Would make the other calls unseen by the filter.
	unix.SYS_IO_URING_SETUP,
	// Read other processes, or run code from no file.
	unix.SYS_MEMFD_CREATE, unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD,
	// A datagram pair of AF_UNIX can send to any address, such as the journal's.
	unix.SYS_SOCKETPAIR,
	// Change files that cannot be opened. Truncating has been Landlock's since ABI 3.
	unix.SYS_TRUNCATE, unix.SYS_FCHMOD, unix.SYS_FCHMODAT, unix.SYS_FCHMODAT2, unix.SYS_FCHOWN, unix.SYS_FCHOWNAT, unix.SYS_UTIMENSAT,
	unix.SYS_SETXATTR, unix.SYS_LSETXATTR, unix.SYS_FSETXATTR, unix.SYS_SETXATTRAT, unix.SYS_FILE_SETATTR,
	unix.SYS_REMOVEXATTR, unix.SYS_LREMOVEXATTR, unix.SYS_FREMOVEXATTR, unix.SYS_REMOVEXATTRAT,
	// Tell when files change that cannot be opened.
	unix.SYS_INOTIFY_ADD_WATCH, unix.SYS_FANOTIFY_MARK,
	// Slow other processes down.
	unix.SYS_SETPRIORITY, unix.SYS_IOPRIO_SET,
	unix.SYS_SCHED_SETAFFINITY, unix.SYS_SCHED_SETSCHEDULER, unix.SYS_SCHED_SETPARAM, unix.SYS_SCHED_SETATTR,
	// Leave the group that is killed at the session's end, or something that outlives it.
	unix.SYS_SETSID, unix.SYS_SETPGID, unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
	unix.SYS_SHMGET, unix.SYS_MSGGET, unix.SYS_SEMGET, unix.SYS_MQ_OPEN,
	// Give capabilities in a namespace of one's own.
	unix.SYS_UNSHARE, unix.SYS_SETNS,
}

// olderCalls are those among deniedCalls that newer architectures lack: chmod, chown,
// lchown, utime, utimes, futimesat. openCall is open(2)'s number there.
var (
	olderCalls = map[uint32][]uint32{
		unix.AUDIT_ARCH_X86_64:  {90, 92, 94, 132, 235, 261},
		unix.AUDIT_ARCH_PPC64LE: {15, 181, 16, 30, 251, 290},
	}
	openCall = map[uint32]uint32{unix.AUDIT_ARCH_X86_64: 2, unix.AUDIT_ARCH_PPC64LE: 5}
)

// signalCalls go to any process of the uid where Landlock does not bound them.
var signalCalls = []uint32{
	unix.SYS_KILL, unix.SYS_TKILL, unix.SYS_RT_SIGQUEUEINFO, unix.SYS_RT_TGSIGQUEUEINFO, unix.SYS_PIDFD_SEND_SIGNAL,
}

// absentCalls fail with ENOSYS, for which libraries have another way: their flags are in
// memory, where the filter does not see them.
var absentCalls = []uint32{unix.SYS_OPENAT2, unix.SYS_CLONE3}

// argument is what a call's argument may be: one of values, of the bits in mask.
type argument struct {
	index  uint32
	mask   uint32
	values []uint32
}

const (
	all = ^uint32(0)
	// newNamespaces are the flags of clone(2) that make namespaces.
	newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET
)

// Sockets are of TCP alone: Landlock binds no others to ports, not even MPTCP.
var socketArguments = []argument{
	{0, all, []uint32{unix.AF_INET, unix.AF_INET6}},
	{1, 0xf, []uint32{unix.SOCK_STREAM}},
	{2, all, []uint32{0, unix.IPPROTO_TCP}},
}

// openArguments: what is opened to be truncated is opened to be written. Else Landlock
// asks for less than the kernel does, before ABI 3.
func openArguments(flags uint32) []argument {
	const t = unix.O_TRUNC
	return []argument{{flags, unix.O_ACCMODE | t, []uint32{unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR, unix.O_ACCMODE, unix.O_WRONLY | t, unix.O_RDWR | t}}}
}

// filter is a seccomp program under construction. The accumulator holds the number of the
// call before and after each of its methods.
type filter []bpf.Instruction

var (
	refuse = bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)}
	absent = bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)}
	allow  = bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}
)

func (f *filter) end(nr uint32, with bpf.Instruction) {
	*f = append(*f, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: nr, SkipTrue: 1}, with)
}

// bound lets a call pass only with these arguments.
func (f *filter) bound(nr uint32, arguments ...argument) {
	var body []bpf.Instruction
	for _, a := range arguments {
		body = append(body, bpf.LoadAbsolute{Off: dataArgLow + dataArgSize*a.index, Size: 4}, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: a.mask})
		for i, value := range a.values {
			body = append(body, bpf.JumpIf{Cond: bpf.JumpEqual, Val: value, SkipTrue: uint8(len(a.values) - i)})
		}
		body = append(body, refuse)
	}
	body = append(body, allow)
	*f = append(*f, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: nr, SkipTrue: uint8(len(body))})
	*f = append(*f, body...)
}

// seccompProgram is the filter for backends: any call of a foreign architecture or ABI
// and the denied calls fail, others only with some arguments. Without scopes, Landlock
// does not keep signals within the backend: then it may send none but the one with which
// Go stops its own threads, which does no harm to anybody.
func seccompProgram(arch uint32, scopes bool) ([]bpf.RawInstruction, error) {
	f := filter{
		bpf.LoadAbsolute{Off: dataArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: arch, SkipTrue: 1},
		refuse,
		bpf.LoadAbsolute{Off: dataNr, Size: 4},
	}
	if arch == unix.AUDIT_ARCH_X86_64 {
		f = append(f, bpf.JumpIf{Cond: bpf.JumpLessThan, Val: x32Bit, SkipTrue: 1}, refuse)
	}
	denied := slices.Concat(deniedCalls, olderCalls[arch])
	if !scopes {
		denied = append(denied, signalCalls...)
		f.bound(unix.SYS_TGKILL, argument{2, all, []uint32{uint32(unix.SIGURG)}})
	}
	for _, nr := range denied {
		f.end(nr, refuse)
	}
	for _, nr := range absentCalls {
		f.end(nr, absent)
	}
	f.bound(unix.SYS_SOCKET, socketArguments...)
	f.bound(unix.SYS_OPENAT, openArguments(2)...)
	if nr, ok := openCall[arch]; ok {
		f.bound(nr, openArguments(1)...)
	}
	f.bound(unix.SYS_CLONE, argument{0, newNamespaces, []uint32{0}})
	f.bound(unix.SYS_PRLIMIT64, argument{0, all, []uint32{0}}) // of one's own process
	return bpf.Assemble(append(f, allow))
}

// restrictCalls installs the filter on the calling thread. The thread must have
// no_new_privs set.
func restrictCalls(scopes bool) error {
	arch, ok := auditArch[runtime.GOARCH]
	if !ok {
		return fmt.Errorf("no seccomp filter is known for %s", runtime.GOARCH)
	}
	raw, err := seccompProgram(arch, scopes)
	if err != nil {
		return fmt.Errorf("cannot assemble the seccomp filter: %w", err)
	}
	program := make([]unix.SockFilter, len(raw))
	for i, in := range raw {
		program[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0)
	runtime.KeepAlive(program)
	if err != nil {
		return fmt.Errorf("cannot install the seccomp filter: %w", err)
	}
	return nil
}
