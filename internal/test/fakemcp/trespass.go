package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// trespassRequest names what belongs to others. Where an attempt works, little is harmed:
// signals are number 0, modes are changed to what they are.
type trespassRequest struct {
	PIDs  []int    `json:"pids,omitempty"`
	Ports []int    `json:"ports,omitempty"` // of TCP on 127.0.0.1
	Files []string `json:"files,omitempty"`
}

// trespass maps what was tried to "" where it worked and to the error's text where not.
func trespass(in trespassRequest) map[string]string {
	r := probeReport{Tried: map[string]string{}, Content: map[string]string{}}
	for _, pid := range in.PIDs {
		r.process(pid)
	}
	for _, port := range in.Ports {
		r.note(fmt.Sprint("connect ", port), connectTCP(port))
	}
	for _, path := range in.Files {
		r.change(path)
	}
	r.note("leave the process group", syscall.Setpgid(0, 0))
	_, err := unix.Setsid()
	r.note("leave the session", err)
	r.note("raise the limits", unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: 1<<30 + 1, Max: 1<<30 + 1}))
	return r.Tried
}

func (r *probeReport) process(pid int) {
	dir := fmt.Sprintf("/proc/%d", pid)
	for _, name := range []string{"environ", "maps", "auxv", "stack", "mem", "root/etc/passwd", "cwd/etc/passwd", "exe", "fd/0"} {
		r.open(dir+"/"+name, os.O_RDONLY)
	}
	for _, name := range []string{"mem", "oom_score_adj", "coredump_filter", "comm", "timerslack_ns"} {
		r.open(dir+"/"+name, os.O_WRONLY)
	}
	r.note(fmt.Sprint("kill ", pid), unix.Kill(pid, 0))
	r.note(fmt.Sprint("tgkill ", pid), unix.Tgkill(pid, pid, 0))
	r.note(fmt.Sprint("ptrace ", pid), unix.PtraceSeize(pid))
	r.note(fmt.Sprint("pidfd_getfd ", pid), pidfdGetfd(pid))
	r.note(fmt.Sprint("prlimit ", pid), unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, new(unix.Rlimit)))
	r.note(fmt.Sprint("setpriority ", pid), unix.Setpriority(unix.PRIO_PROCESS, pid, 0))
	r.note(fmt.Sprint("sched_setaffinity ", pid), unix.SchedSetaffinity(pid, &unix.CPUSet{1}))
}

func (r *probeReport) open(path string, flags int) {
	f, err := os.OpenFile(path, flags|syscall.O_NONBLOCK, 0)
	if err == nil && flags == os.O_RDONLY {
		_, err = f.Read(make([]byte, 1)) // some of /proc is refused only now
	}
	f.Close()
	r.note(map[int]string{os.O_RDONLY: "read ", os.O_WRONLY: "write "}[flags]+path, err)
}

func (r *probeReport) change(path string) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		r.note("stat "+path, err)
		return
	}
	r.open(path, os.O_RDONLY)
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		r.open(path, os.O_WRONLY)
	}
	r.note("chmod "+path, unix.Chmod(path, st.Mode&0o7777))
	r.note("chown "+path, unix.Chown(path, int(st.Uid), int(st.Gid)))
	r.note("truncate "+path, unix.Truncate(path, st.Size))
	r.note("utimes "+path, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Nsec: unix.UTIME_OMIT}}, 0))
	r.note("rename "+path, unix.Rename(path, path+".moved"))
}

// spawn leaves a process behind that minds no signal but SIGKILL.
func spawn(context.Context, none) (string, error) {
	cmd := exec.Command("/bin/sh", "-c", "trap '' HUP TERM INT; while :; do sleep 60; done")
	if err := cmd.Start(); err != nil {
		return "", err
	}
	return strconv.Itoa(cmd.Process.Pid), nil
}

func connectTCP(port int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
}
