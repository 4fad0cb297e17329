package restore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/fjmcp/fjmcp-broker/internal/operator/config"
	"github.com/fjmcp/fjmcp-broker/internal/operator/setup"
)

const (
	envFile     = "/etc/fjmcp/broker.env"
	credentials = "/etc/fjmcp/credentials"
	stateDir    = "/var/lib/fjmcp"
	userName    = "fjmcp"
	broker      = "/usr/sbin/fjmcp-broker"
	socketUnit  = "fjmcp-broker.socket"
)

// Host is the machine that a backup is restored on.
type Host struct {
	Booted bool           // systemd runs it, and the broker
	Config *config.Config // of the broker, at its next start

	broker string // program
	// The broker's user, and whether this process is another.
	uid, gid int
	other    bool
}

// Open finds out with what settings a broker runs here, and as whom: with systemd as the
// package has it, for which this process must be root, else as environ says.
func Open(ctx context.Context, environ []string) (*Host, error) {
	h := &Host{broker: program()}
	_, err := os.Stat("/run/systemd/system") // sd_booted(3)
	h.Booted = err == nil
	var opened map[string]config.Credential // those that are encrypted
	if h.Booted {
		if os.Geteuid() != 0 {
			return nil, errors.New("only root may read the store key and stop the broker\nhint: sudo fjmcpctl restore")
		}
		if environ, opened, err = installed(ctx); err != nil {
			return nil, err
		}
	}
	var faults *config.Error
	if h.Config, err = config.Check(environ, opened); errors.As(err, &faults) {
		return nil, fmt.Errorf("the broker's settings are needed first: %s", strings.Join(faults.Faults, "; "))
	} else if err != nil {
		return nil, err
	}
	return h, h.owner()
}

// program is fjmcp-broker beside this one, or where the package has it.
func program() string {
	if self, err := os.Executable(); err == nil {
		if beside := filepath.Join(filepath.Dir(self), filepath.Base(broker)); executable(beside) {
			return beside
		}
	}
	return broker
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// installed is the environment of the package's broker.
func installed(ctx context.Context) (environ []string, opened map[string]config.Credential, err error) {
	text, err := os.ReadFile(envFile)
	if err != nil {
		return nil, nil, fmt.Errorf("the broker's settings are needed first: %w\nhint: restore /etc/fjmcp, or run fjmcpctl setup", err)
	}
	unit, _ := exec.CommandContext(ctx, "systemctl", "cat", "fjmcp-broker.service").Output()
	if opened, err = setup.SealedIn(string(unit)).Open(ctx, setup.Exec, "/"); err != nil {
		return nil, nil, err
	}
	return append(setup.BrokerEnvironment(string(unit), string(text)), "CREDENTIALS_DIRECTORY="+credentials, "STATE_DIRECTORY="+stateDir), opened, nil
}

// owner makes the state directory, where there is none, and finds out whose it is.
func (h *Host) owner() error {
	info, err := os.Stat(h.Config.StateDir)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(h.Config.StateDir, 0o700); err == nil && h.Booted {
			err = give(h.Config.StateDir)
		}
		if err == nil {
			info, err = os.Stat(h.Config.StateDir)
		}
	}
	if err != nil {
		return fmt.Errorf("cannot use the state directory: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("cannot tell whose the state directory %s is", h.Config.StateDir)
	}
	h.uid, h.gid = int(st.Uid), int(st.Gid)
	h.other = os.Geteuid() == 0 && h.uid != 0
	return nil
}

// give makes a directory the broker's user's.
func give(dir string) error {
	u, err := user.Lookup(userName)
	if err != nil {
		return fmt.Errorf("%w; is fjmcp-broker installed here?", err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return err
	}
	return os.Chown(dir, uid, gid)
}

// Run has the broker's user do what is ordered with a backup.
func (h *Host) Run(ctx context.Context, o Order, backup *os.File) (Answer, error) {
	o.StateDir, o.Keys = h.Config.StateDir, slices.Concat([][]byte{h.Config.StoreKey}, h.Config.StoreKeysOld)
	if _, err := backup.Seek(0, io.SeekStart); err != nil {
		return Answer{}, fmt.Errorf("cannot read the backup: %w", err)
	}
	order, err := json.Marshal(o)
	if err != nil {
		return Answer{}, err
	}
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, h.broker, "--restore")
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = bytes.NewReader(order), &out, &said, []*os.File{backup}
	cmd.Env, cmd.Dir = []string{"PATH=/usr/bin:/bin"}, "/"
	if h.other {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(h.uid), Gid: uint32(h.gid)}}
	}
	err = cmd.Run()
	var exit *exec.ExitError
	switch text := strings.TrimPrefix(strings.TrimSpace(said.String()), "fjmcp-broker: "); {
	case errors.As(err, &exit) && text != "":
		return Answer{}, errors.New(text)
	case err != nil:
		return Answer{}, fmt.Errorf("cannot run %s: %w", h.broker, err)
	}
	var a Answer
	if err := json.Unmarshal(out.Bytes(), &a); err != nil {
		return Answer{}, fmt.Errorf("cannot read what %s --restore says: %w", h.broker, err)
	}
	return a, nil
}

// Stop stops the broker and its sessions, where systemd runs them, and reports, also with an
// error, whether they ran, or were to run at the next request. All that they wrote to the
// journal can be read when it returns.
func (h *Host) Stop(ctx context.Context) (ran bool, err error) {
	if !h.Booted {
		return false, nil
	}
	ran = exec.CommandContext(ctx, "systemctl", "--quiet", "is-active", socketUnit).Run() == nil
	if err := systemctl(ctx, "stop", socketUnit, "fjmcp-broker.service"); err != nil {
		return ran, err
	}
	_ = exec.CommandContext(ctx, "journalctl", "--sync").Run() // where there is no journal nothing is read
	return ran, nil
}

// Start has the broker run at the next request.
func (h *Host) Start(ctx context.Context) error { return systemctl(ctx, "start", socketUnit) }

func systemctl(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "systemctl", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
