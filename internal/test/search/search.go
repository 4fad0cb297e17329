// Package search looks for secrets in everything that a process can read: files by
// every path and mount, descriptors, and what /proc shows of other processes. Tests run
// it as whoever is to find none.
package search

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Request says what to look for, and where.
type Request struct {
	// Complements are the secrets to look for: base64 of the complement (^) of each
	// byte, so that the search does not find what it was asked for in its own memory.
	Complements []string `json:"complements"`
	// Paths are tried as well: what cannot be listed may still be opened by its name.
	Paths []string `json:"paths,omitempty"`
	// Only are the places to search in place of everything.
	Only []string `json:"only,omitempty"`
}

// Complements returns secrets as a Request names them.
func Complements(secrets ...string) []string {
	var all []string
	for _, secret := range secrets {
		b := []byte(secret)
		for i := range b {
			b[i] = ^b[i]
		}
		all = append(all, base64.StdEncoding.EncodeToString(b))
	}
	return all
}

// Report says where secrets were found and how much was looked at.
type Report struct {
	Hits   []Hit    `json:"hits"`
	Mounts []string `json:"mounts"` // where the search began, besides "/"
	Files  int      `json:"files"`  // of which at least a byte was read
	Bytes  int64    `json:"bytes"`
	Denied int      `json:"denied"` // what could be neither opened nor listed
}

// Hit is a place that holds secret number Secret.
type Hit struct {
	Path   string `json:"path"`
	Secret int    `json:"secret"`
}

const (
	searchChunk = 1 << 20
	// endless bounds what is read of a file that has no size, such as /dev/zero.
	endless = 64 << 20
	maxHits = 200
)

type searcher struct {
	complements [][]byte
	keep        int // bytes of one chunk that are looked at again with the next
	report      Report

	buf, complement []byte // scan's
}

// Run reads everything that this process can open, by every path that it can list,
// and looks for secrets in it. No file is passed over because the same one was seen by
// another path: what may be read by one can be forbidden by another.
func Run(ctx context.Context, in Request) (Report, error) {
	s := searcher{}
	for _, text := range in.Complements {
		c, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(c) == 0 {
			return s.report, errors.New("want complements in base64")
		}
		s.complements = append(s.complements, c)
		s.keep = max(s.keep, len(c)-1)
	}
	s.buf, s.complement = make([]byte, s.keep+searchChunk), make([]byte, s.keep+searchChunk)
	for _, path := range in.Only {
		s.walk(ctx, path)
	}
	if len(in.Only) > 0 {
		return s.report, ctx.Err()
	}
	s.walk(ctx, "/")
	for _, mount := range mounts() {
		s.report.Mounts = append(s.report.Mounts, mount)
		if mount != "/" {
			s.walk(ctx, mount) // it may stand below a directory that cannot be listed
		}
	}
	for _, path := range in.Paths {
		s.walk(ctx, path)
	}
	s.processes(ctx, in.Paths)
	s.descriptors()
	return s.report, ctx.Err()
}

// mounts lists the mount points of every process whose list can be read.
func mounts() []string {
	lists, _ := filepath.Glob("/proc/[0-9]*/mountinfo")
	var found []string
	seen := map[string]bool{}
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) < 5 {
				continue
			}
			if at, err := strconv.Unquote(`"` + fields[4] + `"`); err == nil && !seen[at] { // spaces are \040
				seen[at] = true
				found = append(found, at)
			}
		}
	}
	return found
}

// walk reads all files below dir. Links are not followed: what they lead to has a path
// of its own.
func (s *searcher) walk(ctx context.Context, dir string) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			s.report.Denied++
		case d.Type()&(fs.ModeDir|fs.ModeSymlink) == 0:
			s.file(path)
		}
		return nil
	})
}

// processes goes through the links of /proc that lead past the paths: each process's
// root, with paths below it, working directory and memory.
func (s *searcher) processes(ctx context.Context, paths []string) {
	pids, _ := filepath.Glob("/proc/[0-9]*")
	for _, proc := range pids {
		s.walk(ctx, proc+"/root/")
		s.walk(ctx, proc+"/cwd/")
		for _, path := range paths {
			s.walk(ctx, proc+"/root"+path)
		}
		s.memory(proc)
		fds, _ := filepath.Glob(proc + "/fd/*")
		for _, fd := range fds {
			if filepath.Base(proc) != strconv.Itoa(os.Getpid()) {
				s.file(fd)
			}
		}
	}
}

// memory reads what a process has mapped.
func (s *searcher) memory(proc string) {
	maps, err := os.ReadFile(proc + "/maps")
	mem, err2 := os.Open(proc + "/mem")
	if err := cmp.Or(err, err2); err != nil {
		s.report.Denied++
		return
	}
	defer mem.Close()
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		if _, err := fmt.Sscanf(line, "%x-%x r", &from, &to); err == nil && from >= 0 {
			s.scan(proc+"/mem", io.NewSectionReader(mem, from, to-from), to-from)
		}
	}
}

// descriptors reads those that this process has inherited or opened, and takes nothing
// out of pipes and sockets that others wait for.
func (s *searcher) descriptors() {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		fd, _ := strconv.Atoi(e.Name())
		path := "/proc/self/fd/" + e.Name()
		var st unix.Stat_t
		if unix.Fstat(fd, &st) != nil {
			continue
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			s.walk(context.Background(), path+"/")
		case unix.S_IFSOCK:
			b := make([]byte, searchChunk)
			n, _, _ := unix.Recvfrom(fd, b, unix.MSG_PEEK|unix.MSG_DONTWAIT)
			s.scan(path, bytes.NewReader(b[:max(n, 0)]), searchChunk)
		case unix.S_IFIFO:
			s.pipe(path, fd)
		default:
			s.file(path)
		}
	}
}

// pipe looks at what waits in a pipe and leaves it there.
func (s *searcher) pipe(path string, fd int) {
	r, w, err := os.Pipe()
	if err != nil {
		return
	}
	defer r.Close()
	n, err := unix.Tee(fd, int(w.Fd()), searchChunk, unix.SPLICE_F_NONBLOCK)
	w.Close()
	if err == nil && n > 0 {
		s.scan(path, r, n)
	}
}

// file reads a file whole, but of one without a size at most so much as is there at
// once.
func (s *searcher) file(path string) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		s.report.Denied++
		return
	}
	defer unix.Close(fd)
	limit := int64(endless)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG {
		limit = max(limit, st.Size)
	} else if st.Mode&unix.S_IFMT == unix.S_IFCHR {
		limit = searchChunk
	}
	s.scan(path, descriptor(fd), limit)
}

// descriptor reads without the poller, which would wait for what never comes.
type descriptor int

func (d descriptor) Read(p []byte) (int, error) {
	n, err := unix.Read(int(d), p)
	if n <= 0 && err == nil {
		err = io.EOF
	}
	return max(n, 0), err
}

// scan looks for the secrets in what r gives, up to limit bytes. What it compares is
// wiped at once: its own memory is searched as well.
func (s *searcher) scan(path string, r io.Reader, limit int64) {
	buf, complement := s.buf, s.complement
	kept, total := 0, int64(0)
	found := map[int]bool{}
	for total < limit {
		n, err := r.Read(buf[kept:])
		total += int64(n)
		have := buf[:kept+n]
		for i, b := range have {
			complement[i] = ^b
		}
		for i, c := range s.complements {
			if !found[i] && bytes.Contains(complement[:len(have)], c) {
				found[i] = true
				s.hit(path, i)
			}
		}
		clear(complement[:len(have)])
		kept = copy(buf, have[max(0, len(have)-s.keep):])
		if err != nil {
			break
		}
	}
	if total > 0 {
		s.report.Files++
		s.report.Bytes += total
	}
}

func (s *searcher) hit(path string, secret int) {
	if len(s.report.Hits) < maxHits {
		s.report.Hits = append(s.report.Hits, Hit{path, secret})
	}
}
