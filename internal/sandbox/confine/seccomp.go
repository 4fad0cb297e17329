package confine

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data (seccomp(2)). argLow is the low half of the
// first argument, on little-endian machines.
const (
	dataNr     = 0
	dataArch   = 4
	dataArgLow = 16

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

// deniedCalls fail with EPERM. io_uring would make the other calls unseen by the
// filter; the rest reads other processes or runs code from no file.
var deniedCalls = []uint32{
	unix.SYS_IO_URING_SETUP,
	unix.SYS_MEMFD_CREATE,
	unix.SYS_PTRACE,
	unix.SYS_PROCESS_VM_READV,
	unix.SYS_PROCESS_VM_WRITEV,
	unix.SYS_PIDFD_GETFD,
}

// seccompProgram is the filter for backends: any call of a foreign architecture
// or ABI, the denied calls, and sockets of any family but IPv4 and IPv6 fail with
// EPERM. socketpair goes with socket: a datagram pair of AF_UNIX can send to any
// address, such as the journal's.
func seccompProgram(arch uint32) ([]bpf.RawInstruction, error) {
	refuse := bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)}
	allow := bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}
	prog := []bpf.Instruction{
		bpf.LoadAbsolute{Off: dataArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: arch, SkipTrue: 1},
		refuse,
		bpf.LoadAbsolute{Off: dataNr, Size: 4},
	}
	refuseCall := func(nr uint32) {
		prog = append(prog, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: nr, SkipTrue: 1}, refuse)
	}
	if arch == unix.AUDIT_ARCH_X86_64 {
		prog = append(prog, bpf.JumpIf{Cond: bpf.JumpLessThan, Val: x32Bit, SkipTrue: 1}, refuse)
	}
	for _, nr := range append(deniedCalls, unix.SYS_SOCKETPAIR) {
		refuseCall(nr)
	}
	prog = append(prog,
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.SYS_SOCKET, SkipTrue: 1},
		allow,
		bpf.LoadAbsolute{Off: dataArgLow, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_INET, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_INET6, SkipTrue: 1},
		refuse,
		allow,
	)
	return bpf.Assemble(prog)
}

// restrictCalls installs the filter on the calling thread. The thread must have
// no_new_privs set.
func restrictCalls() error {
	arch, ok := auditArch[runtime.GOARCH]
	if !ok {
		return fmt.Errorf("no seccomp filter is known for %s", runtime.GOARCH)
	}
	raw, err := seccompProgram(arch)
	if err != nil {
		return fmt.Errorf("cannot assemble the seccomp filter: %w", err)
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, in := range raw {
		filter[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0)
	runtime.KeepAlive(filter)
	if err != nil {
		return fmt.Errorf("cannot install the seccomp filter: %w", err)
	}
	return nil
}
