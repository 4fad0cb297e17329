package confine

import (
	"encoding/binary"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// verdict runs the filter for amd64 on one system call. The virtual machine loads
// big-endian, the kernel natively; the data is laid out for the former.
func verdict(t *testing.T, arch, nr, arg uint32) uint32 {
	t.Helper()
	raw, err := seccompProgram(unix.AUDIT_ARCH_X86_64)
	if err != nil {
		t.Fatal(err)
	}
	program, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("the program holds unknown instructions")
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data[dataNr:], nr)
	binary.BigEndian.PutUint32(data[dataArch:], arch)
	binary.BigEndian.PutUint32(data[dataArgLow:], arg)
	out, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(out)
}

func TestSeccompProgram(t *testing.T) {
	const allow = unix.SECCOMP_RET_ALLOW
	const refuse = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	tests := []struct {
		name          string
		arch, nr, arg uint32
		want          uint32
	}{
		{"read", unix.AUDIT_ARCH_X86_64, unix.SYS_READ, 0, allow},
		{"execve", unix.AUDIT_ARCH_X86_64, unix.SYS_EXECVE, 0, allow},
		{"socket inet", unix.AUDIT_ARCH_X86_64, unix.SYS_SOCKET, unix.AF_INET, allow},
		{"socket inet6", unix.AUDIT_ARCH_X86_64, unix.SYS_SOCKET, unix.AF_INET6, allow},
		{"socket unix", unix.AUDIT_ARCH_X86_64, unix.SYS_SOCKET, unix.AF_UNIX, refuse},
		{"socket netlink", unix.AUDIT_ARCH_X86_64, unix.SYS_SOCKET, unix.AF_NETLINK, refuse},
		{"socket vsock", unix.AUDIT_ARCH_X86_64, unix.SYS_SOCKET, unix.AF_VSOCK, refuse},
		{"socketpair", unix.AUDIT_ARCH_X86_64, unix.SYS_SOCKETPAIR, unix.AF_UNIX, refuse},
		{"io_uring_setup", unix.AUDIT_ARCH_X86_64, unix.SYS_IO_URING_SETUP, 0, refuse},
		{"memfd_create", unix.AUDIT_ARCH_X86_64, unix.SYS_MEMFD_CREATE, 0, refuse},
		{"ptrace", unix.AUDIT_ARCH_X86_64, unix.SYS_PTRACE, 0, refuse},
		{"read of i386", unix.AUDIT_ARCH_I386, 3, 0, refuse},
		{"socketcall of i386", unix.AUDIT_ARCH_I386, 102, 1, refuse},
		{"socket of x32", unix.AUDIT_ARCH_X86_64, x32Bit | unix.SYS_SOCKET, unix.AF_UNIX, refuse},
	}
	for _, tt := range tests {
		if got := verdict(t, tt.arch, tt.nr, tt.arg); got != tt.want {
			t.Errorf("%s: got %#x, want %#x", tt.name, got, tt.want)
		}
	}
}
