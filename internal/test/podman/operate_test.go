package podman

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// What the page says of a backup brings clients and logins to a host that has nothing.
func TestBackup(t *testing.T) {
	h := start(t)
	alice := h.connect("alice", "saved")
	h.mustBe(alice, "alice")
	where := t.TempDir()
	sections := blocks(t, "Backup")
	if len(sections) != 3 {
		t.Fatalf("the page has not three parts of a backup but %q", sections)
	}
	for _, line := range append(sections[0], sections[1]...) {
		h.shIn(where, line)
	}
	h.untilHealthy()

	h.podman("rm", "--force", container)
	h.podman("volume", "rm", "fjmcp-state")
	h.podman("secret", "rm", "store-key")
	for _, line := range sections[2] {
		h.shIn(where, line)
	}
	h.sh("make image-run")
	h.untilHealthy()
	h.mustBe(h.again(alice), "alice")
}

// What the page says of looking inside works, the doctor is of use, and a broker that does not answer is not
// called healthy.
func TestLookInside(t *testing.T) {
	h := start(t)
	lines := blocks(t, "Look inside")[0]
	for _, line := range lines {
		h.sh(line)
	}
	h.mustBe(h.connect("alice", "examined"), "alice")
	audit := lines[len(lines)-1]
	h.sh(audit + " --user alice --event tool_call --json | grep '\"tool\":\"get_my_user_info\",.*\"outcome\":\"ok\"'")
	h.checkDoctor()
	h.must(exec.Command("kill", "-STOP", h.process("fjmcp-broker")).Run())
	if _, err := podman("healthcheck", "run", container); err == nil {
		t.Error("a broker that stands still is healthy")
	}
}

// A forge with a private CA is used as the page says.
func TestPrivateCA(t *testing.T) {
	ca, config := authority(t)
	h := prepareHostWith(t, "https://"+forgeAddress, config)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	h.transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	file := filepath.Join(t.TempDir(), "my-ca.pem")
	h.must(os.WriteFile(file, ca, 0o644))
	h.must(os.WriteFile(h.env, []byte(h.read(h.env)+"FJMCP_BROKER_FORGEJO_CA_FILE=/ca.pem\n"), 0o644))
	lines := documented(t)
	for _, line := range lines[:len(lines)-1] {
		h.follow(line)
	}
	h.sh(lines[len(lines)-1] + ` RUN_FLAGS="--volume ` + file + `:/ca.pem:ro"`)
	h.untilHealthy()
	h.mustBe(h.connect("alice", "private"), "alice")
}

// authority makes a certificate for the forge that nobody has signed but itself.
func authority(t *testing.T) (ca []byte, config *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.ParseIP(forgeIP)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		&tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}
