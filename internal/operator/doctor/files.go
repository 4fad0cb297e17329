package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// permissions looks whether the secrets are root's alone, and the database the broker's.
func (d *Doctor) permissions(_ context.Context, f *Finding) {
	if !d.systemd {
		f.skip("without systemd they are whoever's starts the broker")
		return
	}
	if d.unreadable(f, credentials) {
		return
	}
	uid, gid, err := d.brokerIDs()
	if err != nil {
		f.fail(err.Error(), "systemd-sysusers fjmcp.conf")
		return
	}
	f.Detail = "secrets are root's alone, the database is fjmcp's"
	d.entry(f, etc, 0, -1, 0o022)
	d.entry(f, envFile, 0, -1, 0o022)
	d.entries(f, credentials, 0, 0o077)
	d.encrypted(f)
	d.entries(f, stateDir, uid, 0o077)
	d.entry(f, "/run/fjmcp-private", 0, gid, 0o007)
	d.missing(f, credentials, "install -d -m 0700 "+credentials)
	d.missing(f, "/run/fjmcp-private", "systemd-tmpfiles --create fjmcp.conf; systemctl restart fjmcp-broker.socket")
	if d.cfg != nil && d.cfg.ForgejoCAFile != "" {
		d.entry(f, d.cfg.ForgejoCAFile, 0, -1, 0o022)
		if info, err := os.Stat(d.path(d.cfg.ForgejoCAFile)); err == nil && info.Mode()&0o004 == 0 {
			f.fail("FJMCP_BROKER_FORGEJO_CA_FILE: permission denied to the broker's user: "+d.cfg.ForgejoCAFile+" has mode "+octal(info.Mode()), "chmod 0644 "+d.cfg.ForgejoCAFile)
		}
	}
}

// encrypted looks at the files that systemd decrypts, and for what lies beside them in clear.
func (d *Doctor) encrypted(f *Finding) {
	for _, name := range slices.Sorted(maps.Keys(d.sealed)) {
		file, plain := d.sealed[name], filepath.Join(credentials, name)
		if filepath.Dir(file) != credentials {
			d.entry(f, file, 0, -1, 0o022)
		}
		if file != plain && d.exists(plain) {
			f.warn(plain+" lies in clear beside "+file+", and is not used: a copy of the disk tells it", "move it to your backup, elsewhere")
		}
	}
}

// brokerIDs are the broker's user and group, as the package made them.
func (d *Doctor) brokerIDs() (uid, gid int, err error) {
	text, err := os.ReadFile(d.path("/etc/passwd"))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Split(line, ":"); fields[0] == "fjmcp" && len(fields) > 3 {
			uid, err = strconv.Atoi(fields[2])
			gid, err2 := strconv.Atoi(fields[3])
			return uid, gid, errors.Join(err, err2)
		}
	}
	return 0, 0, errors.New("there is no user fjmcp, whom the broker runs as")
}

func (d *Doctor) missing(f *Finding, path, cure string) {
	if !d.exists(path) {
		f.fail("there is no "+path, cure)
	}
}

// entries is entry for a directory and what lies in it.
func (d *Doctor) entries(f *Finding, dir string, uid int, closed fs.FileMode) {
	d.entry(f, dir, uid, -1, closed)
	all, _ := os.ReadDir(d.path(dir))
	for _, e := range all {
		d.entry(f, filepath.Join(dir, e.Name()), uid, -1, closed)
	}
}

// entry wants path, where it is there, to be of that owner and group, -1 for any, and to
// have none of the bits of closed.
func (d *Doctor) entry(f *Finding, path string, uid, gid int, closed fs.FileMode) {
	info, err := os.Stat(d.path(path))
	if err != nil {
		return
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return
	}
	if int(owner.Uid) != uid {
		f.fail(fmt.Sprintf("%s: it belongs to uid %d", path, owner.Uid), fmt.Sprintf("chown %s %s", named(uid), path))
	}
	if gid >= 0 && int(owner.Gid) != gid {
		f.fail(fmt.Sprintf("%s: its group is gid %d", path, owner.Gid), "chgrp fjmcp "+path)
	}
	if open := info.Mode().Perm() & closed; open != 0 {
		f.fail(fmt.Sprintf("%s: its mode is %s, which opens it to others", path, octal(info.Mode())), fmt.Sprintf("chmod %s %s", octal(info.Mode().Perm()&^closed), path))
	}
}

func named(uid int) string {
	if uid == 0 {
		return "root"
	}
	return "fjmcp:fjmcp"
}

func octal(m fs.FileMode) string { return fmt.Sprintf("%04o", m.Perm()) }

// Room that is too little: the database can grow by a write-ahead log, and the journal
// keeps 15 % free by itself.
const (
	leastRoom = 4 << 20   // bytes; below it, writing fails soon
	littleOf  = 256 << 20 // bytes
)

// disk looks at the file systems of the database and the journal.
func (d *Doctor) disk(_ context.Context, f *Finding) {
	dirs, order := map[string]string{stateDir: "database", "/var/log": "journal"}, []string{stateDir, "/var/log"}
	if !d.systemd {
		if d.cfg == nil {
			f.skip("the settings cannot be read, or are wrong")
			return
		}
		dirs, order = map[string]string{d.cfg.StateDir: "database"}, []string{d.cfg.StateDir}
	}
	var details []string
	for _, dir := range order {
		var s unix.Statfs_t
		path := dir
		if d.systemd {
			path = d.path(dir)
		}
		if err := unix.Statfs(path, &s); err != nil {
			f.warn("cannot look at the disk of "+dir+": "+err.Error(), "ls -ld "+dir)
			continue
		}
		free := int64(s.Bavail) * s.Bsize
		details = append(details, fmt.Sprintf("%s: %d MB free", dir, free/1_000_000))
		what := fmt.Sprintf("the disk of %s, where the %s is, has %d MB free", dir, dirs[dir], free/1_000_000)
		switch {
		case s.Flags&unix.ST_RDONLY != 0 && dir != "/var/log":
			f.fail(dir+": its file system is read-only", "mount -o remount,rw "+dir+"; systemctl restart fjmcp-broker.service. dmesg says why it became so")
		case free < leastRoom:
			f.fail(what, "make room: du -xh --max-depth=2 "+dir+" | sort -h")
		case free < littleOf:
			f.warn(what, "make room, or a larger disk")
		case s.Files > 0 && s.Ffree < 1000:
			f.fail(fmt.Sprintf("the file system of %s has %d inodes left", dir, s.Ffree), "df -i "+dir+"; delete files that nobody needs")
		}
	}
	f.Detail = strings.Join(details, ", ")
}
