package launcher

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	sddbus "github.com/coreos/go-systemd/v22/dbus"
)

// AppliedFile holds the settings that launcher, egress and sessions run with, and a
// digest of the sessions' sandbox.
const AppliedFile = "/run/fjmcp-private/settings"

// applyTimeout bounds Apply; the slowest part is a launcher that finishes a start, which
// TimeoutStopSec= of its unit bounds.
const applyTimeout = 50 * time.Second

// Apply is run before each start of the broker, with PID 1's rights. Where the
// settings that getenv gives, or the sandbox's drop-ins, differ from those in file, it
// ends all sessions' units, which would continue under the former ones, and starts
// launcher and egress anew, if they run; then it writes file. Where only how many sessions
// a user may have differs, or how long a start may take, it starts the launcher anew. Else
// it touches nothing: a broker that starts anew breaks no session's connection. Without
// file nothing has run since boot.
func Apply(ctx context.Context, getenv func(string) string, file string) error {
	sandbox, err := sandboxDigest(unitDirs)
	if err != nil {
		return err
	}
	// The idle time is the broker's to know, but each unit's timer has it from its start.
	sessions := append(newSettings(getenv).record(), sandbox+"\n"+getenv(envIdle)+"\n"...)
	wanted := append(sessions, getenv(envPerUser)+"\n"+getenv(envStartTimeout)+"\n"...)
	applied, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist): // the first start since boot
		return replaceFile(file, wanted)
	case err != nil:
		return err
	case bytes.Equal(applied, wanted):
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	b := &bus{address: privateSocket}
	defer b.close()
	restart := func(unit string) error { // if it runs; mode "fail" cancels no stop job
		return b.finish(ctx, "restart", (*sddbus.Conn).TryRestartUnitContext, unit, "fail")
	}
	if !bytes.HasPrefix(applied, sessions) {
		err = errors.Join(
			b.stop(ctx, sessionSlice), // first, whatever is wrong with the new settings
			restart("fjmcp-egress.service"))
	}
	if err := errors.Join(err, restart("fjmcp-launcher.service")); err != nil {
		return err // the next start tries again
	}
	return replaceFile(file, wanted)
}

// record is the settings as a file.
func (s settings) record() []byte {
	return []byte(strings.Join([]string{s.forgejoURL, s.caFile, s.forgejoMCP, s.routes, s.forgejoSocket, s.forgejoUser}, "\n") + "\n")
}

// unitDirs are where systemd.unit(5) has the drop-ins of system units.
var unitDirs = []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"}

// sandboxDigest tells one state of the drop-ins of fjmcp-session@.service from another, and
// of the file of that name, which must not be there. An upgrade that mends the sandbox must
// not leave sessions in the former one.
func sandboxDigest(dirs []string) (string, error) {
	sum := sha256.New()
	for _, dir := range dirs {
		unit := filepath.Join(dir, "fjmcp-session@.service")
		files, err := filepath.Glob(filepath.Join(unit+".d", "*.conf"))
		if err != nil {
			return "", err
		}
		if _, err := os.Stat(unit); err == nil {
			files = append(files, unit)
		}
		for _, file := range files { // Glob sorts them
			text, err := os.ReadFile(file)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(sum, "%s %d\n%s", file, len(text), text)
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// replaceFile writes file whole or not at all.
func replaceFile(file string, data []byte) error {
	next := file + ".new"
	if err := os.WriteFile(next, data, 0o600); err != nil {
		return err
	}
	return os.Rename(next, file)
}
