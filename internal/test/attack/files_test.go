package attack

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fjmcp/fjmcp-broker/internal/test/search"
)

func childFiles() []attack {
	all := []attack{
		{who: "C", name: "search for secrets in all it can read", right: "only what everybody sees", in: (*self).search},
		{who: "C", name: "make files wherever there is a directory", right: "none", in: func(s *self) result { return none(made()) }},
		{who: "C", name: "open everything for writing", right: "only devices that keep nothing", in: func(s *self) result {
			return none(without(writable(), "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"))
		}},
		{who: "C", name: "find names of other sessions in the tree", right: "none", in: func(s *self) result { return none(s.tellTale(s.Other)) }},
		{who: "C", name: "list cgroups", right: "refused", in: func(s *self) result {
			_, err := os.ReadDir("/sys/fs/cgroup")
			return refused(err, fs.ErrNotExist)
		}},
		{who: "C", name: "read the kernel's /sys", right: "refused", in: func(s *self) result {
			_, err := os.ReadDir("/sys/kernel")
			return refused(err, fs.ErrNotExist)
		}},
		{who: "C", name: "take the setuid programs", right: "no rights are gained", in: (*self).setuid},
		{who: "C", name: "make a device", right: "refused", in: func(*self) result {
			return refused(unix.Mknod("/tmp/mem", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 1))))
		}},
		{who: "C", name: "leave something for later sessions in /tmp, /var/tmp and /dev/shm", right: "refused", in: func(*self) result {
			return each([]string{"/tmp/x", "/var/tmp/x", "/dev/shm/x"}, func(path string) error { return os.WriteFile(path, nil, 0o600) })
		}},
		{who: "C", name: "link to what it may not read", right: "refused", in: func(s *self) result {
			return each(s.Planted, func(path string) error { return os.Link(path, "/tmp/link") }, fs.ErrNotExist, unix.EXDEV)
		}},
		{who: "C", name: "watch directories of others", right: "refused", in: func(s *self) result {
			fd, err := unix.InotifyInit1(0)
			if err != nil {
				return refused(err)
			}
			defer unix.Close(fd)
			return each([]string{"/etc/fjmcp/credentials", "/run/fjmcp-private", "/root"}, func(path string) error {
				_, err := unix.InotifyAddWatch(fd, path, unix.IN_ALL_EVENTS|unix.IN_ONLYDIR)
				return err
			}, fs.ErrNotExist)
		}},
	}
	for _, path := range []string{
		"/run/credentials", "/run/credentials/<mine>/forgejo-token", "/run/credentials/<other>/forgejo-token", "/etc/fjmcp/credentials/store-key",
		"/etc/fjmcp/broker.env", "/var/lib/fjmcp/fjmcp.db", "/var/lib/fjmcp-session-root", "/run/fjmcp/egress.sock", "/run/systemd/private",
		"/run/dbus/system_bus_socket", "/run/systemd/journal/socket", "/etc/shadow", "/root", "/home", "/dev/mem", "/dev/kmsg", "/dev/tty", "/dev/pts/ptmx", "/dev/shm", "/dev/mqueue",
	} {
		all = append(all, attack{who: "C", name: "open " + path, right: "refused", in: func(s *self) result {
			name := strings.NewReplacer("<mine>", s.Mine, "<other>", s.Other).Replace(path)
			_, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
			return refused(err, fs.ErrNotExist, unix.ENXIO)
		}})
	}
	return all
}

func localFiles() []attack {
	return []attack{
		{who: "L", name: "search for secrets in all it can read", right: "only what everybody sees", in: (*self).search},
		{who: "L", name: "make files wherever the package has directories", right: "none", in: func(*self) result {
			return none(only(made(), "fjmcp"))
		}},
		{who: "L", name: "open the package's files for writing", right: "none", in: func(*self) result { return none(only(writable(), "fjmcp", "forgejo-mcp")) }},
		{who: "L", name: "list the package's closed directories", right: "refused", in: func(*self) result {
			return each([]string{"/run/fjmcp-private", "/var/lib/fjmcp", "/etc/fjmcp/credentials", "/var/lib/private", "/run/fjmcp-private/egress"}, func(path string) error {
				_, err := os.ReadDir(path)
				return err
			})
		}},
		{who: "L", name: "read the token of a session", right: "refused", in: func(s *self) result {
			return each([]string{s.Mine, s.Other}, func(unit string) error {
				_, err := os.ReadFile("/run/credentials/" + unit + "/forgejo-token")
				return err
			}, fs.ErrNotExist)
		}},
		{who: "L", name: "find the package's files with loose modes", right: "none", in: func(*self) result {
			var found []string
			walk("/", func(path string, d fs.DirEntry) {
				info, err := d.Info()
				if err != nil || !strings.Contains(path, "fjmcp") || strings.HasPrefix(path, "/proc/") || info.Mode()&fs.ModeSymlink != 0 {
					return
				}
				loose := info.Mode()&0o022 != 0 && info.Mode()&fs.ModeSocket == 0 || info.Mode().IsRegular() && info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0
				if st := info.Sys().(*syscall.Stat_t); loose || st.Uid == uint32(os.Getuid()) {
					found = append(found, path)
				}
			})
			return none(found)
		}},
		{who: "L", name: "take the place of a socket", right: "refused", in: func(*self) result {
			return each([]string{"/run/fjmcp/http.sock", "/run/fjmcp/admin.sock"}, os.Remove)
		}},
		{who: "L", name: "run the privileged programs by hand", right: "they fail", in: func(*self) result {
			return programs([][]string{{"/usr/libexec/fjmcp/fjmcp-launcher", "unmount"}, {"/usr/libexec/fjmcp/fjmcp-launcher", "apply"}, {"/usr/libexec/fjmcp/fjmcp-session"}, {"/usr/libexec/fjmcp/fjmcp-launcher"}})
		}},
		{who: "L", name: "use fjmcpctl", right: "refused", in: func(*self) result {
			return programs([][]string{{"fjmcpctl", "status"}, {"fjmcpctl", "sessions", "list"}, {"fjmcpctl", "clients", "list"}, {"fjmcpctl", "drain"}, {"fjmcpctl", "key", "rotate"}})
		}},
	}
}

func brokerFiles() []attack {
	return []attack{
		{who: "B", name: "search for secrets of others in all it can read", right: "only what everybody sees", in: (*self).search},
		{who: "B", name: "make files wherever there is a directory", right: "in its own state and what vanishes with it", in: func(*self) result {
			found := without(made(), "/var/lib/fjmcp", "/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue")
			return none(slices.DeleteFunc(found, func(dir string) bool { return dir == "/run" })) // an empty one of its own
		}},
		{who: "B", name: "open everything for writing", right: "its own database, devices that keep nothing, the journal's sockets", in: func(*self) result {
			return none(without(writable(), "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/pts", "/dev/mqueue", "/var/lib/fjmcp", "/proc/<mine>"))
		}},
		{who: "B", name: "open what is root's", right: "refused", in: func(s *self) result {
			return each(append(slices.Clone(s.Planted), "/etc/shadow", "/etc/fjmcp/credentials/store-key", "/run/credentials/"+s.Mine, "/run/systemd/private", "/run/dbus/system_bus_socket"), func(path string) error {
				_, err := os.ReadFile(path)
				return err
			}, fs.ErrNotExist)
		}},
		{who: "B", name: "list the units' transient files", right: "no token in them", in: func(s *self) result {
			r, err := search.Run(s.ctx, search.Request{Complements: s.Secrets["C"], Only: []string{"/run/systemd", "/sys"}})
			return verdict(err == nil && len(r.Hits) == 0, "%d hits in %d files, %v", len(r.Hits), r.Files, err)
		}},
	}
}

// search looks everywhere, and wants to find what everybody may.
func (s *self) search() result {
	r, err := search.Run(s.ctx, search.Request{Complements: s.Secrets[s.who], Paths: append(slices.Clone(s.Planted),
		"/run", "/run/credentials", "/run/credentials/"+s.Mine, "/run/credentials/"+s.Other, "/etc/fjmcp", "/etc/fjmcp/credentials", "/var/lib/fjmcp")})
	if err != nil {
		return result{false, "cannot try: " + err.Error()}
	}
	var found []string
	seen := false
	for _, h := range r.Hits {
		if h.Secret != 0 {
			found = append(found, fmt.Sprintf("secret %d in %s", h.Secret, h.Path))
		}
		seen = seen || h.Secret == 0 && h.Path == "/usr/share/known"
	}
	if !seen || r.Denied == 0 {
		return verdict(false, "the search sees nothing: %d files, %d refused", r.Files, r.Denied)
	}
	if len(found) > 0 {
		return none(found)
	}
	return verdict(true, "nothing else in %d files with %d MB, %d refused", r.Files, r.Bytes>>20, r.Denied)
}

// walk goes through all that can be listed, links not followed.
func walk(root string, each func(path string, d fs.DirEntry)) {
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if d != nil {
			each(path, d)
		}
		return nil
	})
}

// made tries to make a file, a directory, a link, a socket and a pipe in each directory,
// and returns those directories where one could.
func made() (found []string) {
	walk("/", func(dir string, d fs.DirEntry) {
		if !d.IsDir() {
			return
		}
		name := filepath.Join(dir, ".attack")
		for _, try := range []func() error{
			func() error { return os.WriteFile(name, nil, 0o600) },
			func() error { return os.Mkdir(name, 0o700) },
			func() error { return os.Symlink("/etc", name) },
			func() error { return unix.Mknod(name, unix.S_IFSOCK|0o600, 0) },
			func() error { return unix.Mkfifo(name, 0o600) },
		} {
			if try() == nil {
				found = append(found, dir)
				os.Remove(name)
			}
		}
	})
	return slices.Compact(found)
}

// writable returns what can be opened for writing. Nothing is written.
func writable() (found []string) {
	walk("/", func(path string, d fs.DirEntry) {
		if d.Type()&(fs.ModeDir|fs.ModeSymlink|fs.ModeSocket) != 0 || own(path) {
			return
		}
		fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		if err != nil {
			return
		}
		unix.Close(fd)
		// A process of one's own uid is oneself, as far as rights go.
		if st, ok := sys(path); ok && strings.HasPrefix(path, "/proc/") && st.Uid == uint32(os.Getuid()) {
			path = "/proc/<mine>"
		}
		found = append(found, path)
	})
	return slices.Compact(found)
}

func sys(path string) (*syscall.Stat_t, bool) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return st, ok
}

// tellTale returns paths with the id of a unit in them.
func (s *self) tellTale(unit string) (found []string) {
	_, id, _ := strings.Cut(strings.TrimSuffix(unit, ".service"), "@")
	walk("/", func(path string, _ fs.DirEntry) {
		if strings.Contains(path, id) {
			found = append(found, path)
		}
	})
	return found
}

// without leaves out paths at or below places.
func without(paths []string, places ...string) []string {
	return slices.DeleteFunc(paths, func(p string) bool {
		return slices.ContainsFunc(places, func(place string) bool { return p == place || strings.HasPrefix(p, place+"/") })
	})
}

// only keeps paths with one of the words in them.
func only(paths []string, words ...string) []string {
	return slices.DeleteFunc(paths, func(p string) bool {
		return !slices.ContainsFunc(words, func(w string) bool { return strings.Contains(p, w) })
	})
}

// each wants every one of the things to be refused.
func each(things []string, try func(string) error, further ...error) result {
	var last result
	for _, thing := range things {
		if last = refused(try(thing), further...); !last.OK {
			return verdict(false, "%s: %s", thing, last.Got)
		}
	}
	return last
}

// setuid runs what has a setuid bit, which would tell the rights it has.
func (s *self) setuid() result {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return result{false, err.Error()}
	}
	for _, want := range []string{"NoNewPrivs:\t1", "Seccomp:\t2", "CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000"} {
		if !strings.Contains(string(status), want+"\n") {
			return verdict(false, "its status lacks %q", want)
		}
	}
	count := 0
	walk("/usr", func(path string, d fs.DirEntry) {
		if info, err := d.Info(); err == nil && info.Mode()&fs.ModeSetuid != 0 {
			count++
		}
	})
	return verdict(count > 0, "no new privileges with %d such programs", count)
}
