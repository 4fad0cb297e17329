package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

type probeRequest struct {
	// Paths are further files to try to read.
	Paths []string `json:"paths,omitempty"`
	// Sockets are AF_UNIX addresses to try; a leading @ means abstract.
	Sockets []string `json:"sockets,omitempty"`
}

// probeReport maps what was tried to "" where it worked and to the error's text
// where it did not. What was readable is in Content.
type probeReport struct {
	UID     int               `json:"uid"`
	PID     int               `json:"pid"`
	PPID    int               `json:"ppid"`
	Environ []string          `json:"environ"`
	Args    []string          `json:"args"`
	Files   []string          `json:"files"` // targets of /proc/self/fd
	Tried   map[string]string `json:"tried"`
	Content map[string]string `json:"content"` // at most 4 KiB each
}

func probe(in probeRequest) probeReport {
	r := probeReport{
		UID: os.Getuid(), PID: os.Getpid(), PPID: os.Getppid(),
		Environ: os.Environ(), Args: os.Args, Files: openFiles(),
		Tried: map[string]string{}, Content: map[string]string{},
	}
	for _, path := range append(credentialPaths(), in.Paths...) {
		r.read(path)
	}
	r.parent(os.Getppid())
	r.calls(os.Getppid())
	for _, addr := range in.Sockets {
		r.note("connect "+addr, connectUnix(addr))
	}
	return r
}

// credentialPaths are where systemd keeps credentials.
func credentialPaths() []string {
	paths := []string{"/run/credentials", "/etc/fjmcp/credentials/store-key", "/etc/fjmcp/credentials/forgejo-client-secret"}
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" {
		paths = append(paths, filepath.Join(dir, "forgejo-token"))
	}
	found, _ := filepath.Glob("/run/credentials/*/*")
	return append(paths, found...)
}

func (r *probeReport) note(what string, err error) {
	r.Tried[what] = ""
	if err != nil {
		r.Tried[what] = err.Error()
	}
}

// read tries to open path and to read its beginning.
func (r *probeReport) read(path string) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		r.note("read "+path, err)
		return
	}
	defer f.Close()
	buf := make([]byte, 4<<10)
	n, err := f.Read(buf)
	if n == 0 && err != nil {
		r.note("read "+path, err)
		return
	}
	r.note("read "+path, nil)
	r.Content[path] = string(buf[:n])
}

// parent tries every way through /proc to the process that holds the token.
func (r *probeReport) parent(pid int) {
	dir := fmt.Sprintf("/proc/%d", pid)
	for _, name := range []string{"environ", "maps", "auxv", "stack", "root/etc/passwd"} {
		r.read(filepath.Join(dir, name))
	}
	for how, flag := range map[string]int{"read": os.O_RDONLY, "write": os.O_RDWR} {
		mem, err := os.OpenFile(dir+"/mem", flag, 0)
		r.note(how+" parent's mem", err)
		if err == nil {
			mem.Close()
		}
	}
	_, err := os.ReadDir(dir + "/fd")
	r.note("list parent's fd", err)
	log, err := os.OpenFile(dir+"/fd/2", os.O_WRONLY, 0)
	r.note("write parent's fd 2", err)
	if err == nil {
		log.Close()
	}
	for fd := range 16 {
		_, err := os.Readlink(fmt.Sprintf("%s/fd/%d", dir, fd))
		r.note(fmt.Sprintf("readlink parent's fd %d", fd), err)
	}
}

// calls tries system calls that lead to other processes or round a filter.
func (r *probeReport) calls(parent int) {
	r.note("ptrace parent", unix.PtraceSeize(parent))
	buf := make([]byte, 8)
	local := []unix.Iovec{{Base: &buf[0], Len: 8}}
	_, err := unix.ProcessVMReadv(parent, local, []unix.RemoteIovec{{Base: 0x400000, Len: 8}}, 0)
	r.note("process_vm_readv parent", err)
	r.note("pidfd_getfd parent", pidfdGetfd(parent))
	for name, family := range map[string]int{"unix": unix.AF_UNIX, "netlink": unix.AF_NETLINK, "packet": unix.AF_PACKET, "inet": unix.AF_INET, "inet6": unix.AF_INET6} {
		fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
		r.noteFD("socket "+name, fd, err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	r.noteFD("socket udp", fd, err)
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP)
	r.noteFD("socket mptcp", fd, err)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	r.noteFD("socketpair unix", pair[0], err)
	fd, err = unix.MemfdCreate("probe", 0)
	r.noteFD("memfd_create", fd, err)
	// A null argument is a fault only where the call is let through.
	_, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, 0, 0)
	r.note("io_uring_setup", errno)
}

func (r *probeReport) noteFD(what string, fd int, err error) {
	r.note(what, err)
	if err == nil {
		unix.Close(fd)
	}
}

func pidfdGetfd(pid int) error {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	fd, err := unix.PidfdGetfd(pidfd, 0, 0)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

func connectUnix(addr string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Connect(fd, &unix.SockaddrUnix{Name: addr})
}

func openFiles() []string {
	entries, _ := os.ReadDir("/proc/self/fd")
	var files []string
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.Contains(target, "/proc/") {
			files = append(files, e.Name()+" "+target)
		}
	}
	return files
}
