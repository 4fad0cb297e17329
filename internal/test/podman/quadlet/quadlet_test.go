package quadlet

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/test/nspawn"
)

const top = "../../../.."

// generate puts the files where an operator does, in a Debian 13 that stays as it is,
// and prints the unit. What the generator and systemd-analyze have to say goes to
// standard error.
const generate = `
tree=$1 where=$2
shift 2
mount -t tmpfs tmpfs "$tree/etc"
mount -t tmpfs tmpfs "$tree/root"
mount -t tmpfs tmpfs "$tree/run"
echo root:x:0:0:root:/root:/bin/sh >"$tree/etc/passwd"
mkdir -p "$tree$where" "$tree/run/units"
cp ` + top + `/packaging/podman/fjmcp-broker.container ` + top + `/packaging/podman/fjmcp-broker.env "$tree$where"
export HOME=/root XDG_RUNTIME_DIR=/run
chroot "$tree" /usr/libexec/podman/quadlet -no-kmsg-log "$@" /run/units
sed "s/^/generated: /" "$tree/run/units/fjmcp-broker.service"
mode=--system
case $* in *-user*) mode=--user ;; esac
chroot "$tree" systemd-analyze "$mode" verify /run/units/fjmcp-broker.service
`

// Debian 13's Quadlet makes a unit of the file, for root and for a user, and its
// systemd finds nothing wrong with it.
func TestQuadlet(t *testing.T) {
	tree := debian13(t)
	for _, c := range []struct {
		name, where string
		flags       []string
	}{
		{"root", "/etc/containers/systemd", nil},
		{"user", "/root/.config/containers/systemd", []string{"-user"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var said strings.Builder
			cmd := exec.CommandContext(t.Context(), "unshare", append([]string{"--mount", "sh", "-euc", generate, "sh", tree, c.where}, c.flags...)...)
			cmd.Stderr = &said
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s%s", err, out, said.String())
			}
			if complaint := strings.TrimSpace(regexp.MustCompile(`(?m)^quadlet-generator\[\d+\]: Loading source unit file .*\n`).ReplaceAllString(said.String(), "")); complaint != "" {
				t.Errorf("it is not taken without complaint: %s", complaint)
			}
			checkUnit(t, strings.ReplaceAll(string(out), "generated: ", ""), c.where)
		})
	}
}

// debian13 is a tree with Podman and systemd.
func debian13(t *testing.T) string {
	t.Helper()
	if err := lacking(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("SKIP: " + err.Error())
	}
	tree, err := nspawn.Extracted(t.Context(), "trixie", "podman", "systemd", "base-files")
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func lacking() error {
	if os.Geteuid() != 0 {
		return errors.New("a tree of Debian 13 needs root")
	}
	for _, tool := range []string{"mmdebstrap", "unshare", "make"} {
		if _, err := exec.LookPath(tool); err != nil {
			return err
		}
	}
	return nil
}

// checkUnit holds the command that the unit starts against make image-run's.
func checkUnit(t *testing.T, unit, where string) {
	t.Helper()
	_, rest, _ := strings.Cut(unit, "\nExecStart=")
	start, _, _ := strings.Cut(rest, "\n")
	quadlet := options(t, start)
	made, err := exec.Command("make", "--no-print-directory", "-n", "-C", top, "image-run", "IMAGE_ENV="+where+"/fjmcp-broker.env").Output()
	if err != nil {
		t.Fatal(err)
	}
	run := options(t, string(made))
	// What only a unit needs, and the health check, which make's has from the image.
	own := []string{"--cidfile=%t/%N.cid", "--rm", "--cgroups=split", "--sdnotify=conmon", "--label=io.containers.autoupdate=local",
		`--health-cmd=["/usr/bin/fjmcp-broker","--healthcheck"]`, "--health-interval=30s", "--health-timeout=10s", "--health-start-period=10s", "--health-retries=3"}
	for _, o := range own {
		if !slices.Contains(quadlet, o) {
			t.Errorf("the unit's command lacks %s", o)
		}
	}
	quadlet = slices.DeleteFunc(quadlet, func(o string) bool { return slices.Contains(own, o) })
	if !slices.Equal(quadlet, run) {
		t.Errorf("the unit starts the image with\n%q\nand make image-run with\n%q", quadlet, run)
	}
	if !strings.Contains(unit, "\nRestartPreventExitStatus=78\n") {
		t.Error("a faulty configuration is tried again and again")
	}
}

// options gives the words of a podman run command in one spelling each, in order.
func options(t *testing.T, command string) []string {
	t.Helper()
	out, err := exec.Command("sh", "-c", `printf '%s\n' `+command).Output()
	if err != nil {
		t.Fatalf("%v: %s", err, command)
	}
	words := strings.Split(strings.TrimSpace(string(out)), "\n")[2:] // podman run
	flags := []string{"--rm", "--replace", "--init", "--read-only", "--detach"}
	short := map[string]string{"-v": "--volume", "-d": "--detach"}
	var all []string
	for i := 0; i < len(words); i++ {
		w := words[i]
		if long, ok := short[w]; ok {
			w = long
		}
		if strings.HasPrefix(w, "--") && !strings.Contains(w, "=") && !slices.Contains(flags, w) && i+1 < len(words) {
			i++
			w += "=" + words[i]
		}
		all = append(all, w)
	}
	slices.Sort(all)
	return all
}
