package confine

import (
	"encoding/binary"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// verdict runs the filter for amd64 on one system call. The virtual machine loads
// big-endian, the kernel natively; the data is laid out for the former.
func verdict(t *testing.T, scopes bool, arch, nr uint32, args ...uint32) uint32 {
	t.Helper()
	raw, err := seccompProgram(unix.AUDIT_ARCH_X86_64, scopes)
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
	for i, arg := range args {
		binary.BigEndian.PutUint32(data[dataArgLow+dataArgSize*i:], arg)
	}
	out, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(out)
}

func TestSeccompProgram(t *testing.T) {
	const (
		native = unix.AUDIT_ARCH_X86_64
		pass   = unix.SECCOMP_RET_ALLOW
		eperm  = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
		enosys = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	)
	tests := []struct {
		name     string
		arch, nr uint32
		args     []uint32
		want     uint32
	}{
		{"read", native, unix.SYS_READ, nil, pass},
		{"execve", native, unix.SYS_EXECVE, nil, pass},
		{"socket inet", native, unix.SYS_SOCKET, []uint32{unix.AF_INET, unix.SOCK_STREAM | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK, unix.IPPROTO_TCP}, pass},
		{"socket inet6", native, unix.SYS_SOCKET, []uint32{unix.AF_INET6, unix.SOCK_STREAM, 0}, pass},
		{"socket of datagrams", native, unix.SYS_SOCKET, []uint32{unix.AF_INET, unix.SOCK_DGRAM | unix.SOCK_CLOEXEC, 0}, eperm},
		{"socket of MPTCP", native, unix.SYS_SOCKET, []uint32{unix.AF_INET6, unix.SOCK_STREAM, unix.IPPROTO_MPTCP}, eperm},
		{"socket unix", native, unix.SYS_SOCKET, []uint32{unix.AF_UNIX, unix.SOCK_STREAM}, eperm},
		{"socket netlink", native, unix.SYS_SOCKET, []uint32{unix.AF_NETLINK, unix.SOCK_STREAM}, eperm},
		{"socket vsock", native, unix.SYS_SOCKET, []uint32{unix.AF_VSOCK, unix.SOCK_STREAM}, eperm},
		{"socketpair", native, unix.SYS_SOCKETPAIR, []uint32{unix.AF_UNIX}, eperm},
		{"io_uring_setup", native, unix.SYS_IO_URING_SETUP, nil, eperm},
		{"memfd_create", native, unix.SYS_MEMFD_CREATE, nil, eperm},
		{"ptrace", native, unix.SYS_PTRACE, nil, eperm},
		{"chmod", native, unix.SYS_CHMOD, nil, eperm},
		{"open", native, unix.SYS_OPEN, []uint32{0, unix.O_RDONLY | unix.O_CLOEXEC}, pass},
		{"open to truncate", native, unix.SYS_OPEN, []uint32{0, unix.O_RDONLY | unix.O_TRUNC}, eperm},
		{"open for nothing and truncate", native, unix.SYS_OPENAT, []uint32{0, 0, unix.O_ACCMODE | unix.O_TRUNC | unix.O_CLOEXEC}, eperm},
		{"open to write anew", native, unix.SYS_OPENAT, []uint32{0, 0, unix.O_WRONLY | unix.O_CREAT | unix.O_TRUNC}, pass},
		{"openat2", native, unix.SYS_OPENAT2, nil, enosys},
		{"clone of a thread", native, unix.SYS_CLONE, []uint32{unix.CLONE_VM | unix.CLONE_THREAD}, pass},
		{"clone into a namespace", native, unix.SYS_CLONE, []uint32{unix.CLONE_NEWUSER | unix.CLONE_VM}, eperm},
		{"clone3", native, unix.SYS_CLONE3, nil, enosys},
		{"prlimit64 of itself", native, unix.SYS_PRLIMIT64, []uint32{0, unix.RLIMIT_NOFILE}, pass},
		{"prlimit64 of another", native, unix.SYS_PRLIMIT64, []uint32{1, unix.RLIMIT_NOFILE}, eperm},
		{"read of i386", unix.AUDIT_ARCH_I386, 3, nil, eperm},
		{"socketcall of i386", unix.AUDIT_ARCH_I386, 102, []uint32{1}, eperm},
		{"socket of x32", native, x32Bit | unix.SYS_SOCKET, []uint32{unix.AF_UNIX}, eperm},
	}
	for _, scopes := range []bool{true, false} {
		for _, tt := range tests {
			if got := verdict(t, scopes, tt.arch, tt.nr, tt.args...); got != tt.want {
				t.Errorf("%s, scopes %v: got %#x, want %#x", tt.name, scopes, got, tt.want)
			}
		}
	}
	for nr, harmless := range map[uint32]uint32{unix.SYS_KILL: eperm, unix.SYS_TGKILL: pass} {
		if got := verdict(t, false, native, nr, 1, 1, uint32(unix.SIGURG)); got != harmless {
			t.Errorf("call %d with SIGURG, no scopes: got %#x", nr, got)
		}
		if got := verdict(t, false, native, nr, 1, 1, uint32(unix.SIGKILL)); got != eperm {
			t.Errorf("call %d with SIGKILL, no scopes: got %#x", nr, got)
		}
		if got := verdict(t, true, native, nr, 1, 1, uint32(unix.SIGKILL)); got != pass {
			t.Errorf("call %d with SIGKILL and scopes: got %#x", nr, got)
		}
	}
}
