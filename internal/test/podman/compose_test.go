package podman

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// podman-compose starts the image as make image-run does, on the same volume and with
// the same secrets, so that one can follow the other.
func TestCompose(t *testing.T) {
	h := start(t)
	alice := h.connect("alice", "composed")
	h.mustBe(alice, "alice")
	made := h.inspect()
	h.podman("rm", "--force", container)

	dir := t.TempDir()
	for _, name := range []string{"compose.yaml", "fjmcp-broker.env"} {
		h.must(exec.Command("cp", filepath.Join(top, "packaging/podman", name), dir).Run())
	}
	h.settings(filepath.Join(dir, "fjmcp-broker.env"), filepath.Join(dir, "fjmcp-broker.env"))
	up := exec.Command("podman-compose", "up", "--detach")
	up.Dir = dir
	if out, err := up.CombinedOutput(); err != nil {
		t.Fatalf("podman-compose up: %v\n%s", err, out)
	}
	h.untilHealthy()
	if composed := h.inspect(); composed != made {
		t.Errorf("podman-compose has made\n%s\nand make image-run\n%s", composed, made)
	}
	h.mustBe(h.again(alice), "alice")
	// Debian 12's podman-compose passes these over.
	for _, line := range []string{"pids_limit: 4096", "stop_grace_period: 40s"} {
		if !strings.Contains(h.read(filepath.Join(dir, "compose.yaml")), "\n    "+line+"\n") {
			t.Errorf("compose.yaml lacks %s", line)
		}
	}
}

// inspect gives what bears on the container's isolation and state, as JSON.
func (h *host) inspect() string {
	h.t.Helper()
	var all []struct {
		ImageName                   string
		EffectiveCaps, BoundingCaps []string
		Mounts                      []struct {
			Type, Name, Destination string
			RW                      bool
		}
		Config struct {
			User        string
			Healthcheck any
			Secrets     []struct {
				Name           string
				UID, GID, Mode int
			}
		}
		HostConfig struct {
			ReadonlyRootfs, Init, Privileged bool
			SecurityOpt                      []string
			PortBindings                     any
		}
	}
	h.must(json.Unmarshal([]byte(h.podman("inspect", container)), &all))
	text, err := json.MarshalIndent(all, "", " ")
	h.must(err)
	return string(text)
}
