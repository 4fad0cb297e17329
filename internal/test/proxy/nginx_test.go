package proxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	certificates = "/etc/letsencrypt/live/" + name
	nginxLog     = "/var/log/nginx/fjmcp.log"
)

func nginxProgram() string { return filepath.Join(debian, "usr/sbin/nginx") }

// startNginx runs the shipped file within Debian's own nginx.conf.
func startNginx(w *world, edits ...edit) *proxy {
	w.t.Helper()
	return runNginx(w, shipped(w.t, "nginx/fjmcp.conf", edits...))
}

func runNginx(w *world, text string) *proxy {
	w.t.Helper()
	roots := w.certify()
	conf := w.nginxConf(text)
	p := launch(w, exec.Command(nginxProgram(), "-c", conf, "-g", "daemon off;"), nginxLog)
	if err := p.ready(w.host()); err != nil {
		w.t.Fatalf("nginx: %v\n%s", err, p.output)
	}
	p.tls = &tls.Config{RootCAs: roots}
	return p
}

// nginxConf writes Debian's nginx.conf and the site, with files in places of the
// test's, and returns the path of the first.
func (w *world) nginxConf(site string) string {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(debian, "etc/nginx/nginx.conf"))
	if err != nil {
		w.t.Fatal(err)
	}
	etc := filepath.Join(w.dir, "nginx")
	main := strings.NewReplacer(
		"include /etc/nginx/conf.d/", "include "+etc+"/conf.d/",
		"include /etc/nginx/mime.types", "include "+debian+"/etc/nginx/mime.types",
		"include /etc/nginx/modules-enabled/", "include "+etc+"/modules-enabled/",
		"include /etc/nginx/sites-enabled/", "include "+etc+"/sites-enabled/",
		"http {\n", "http {\n"+spool(w.t),
	).Replace(string(b))
	for file, text := range map[string]string{
		"nginx.conf": main, "conf.d/fjmcp.conf": strings.ReplaceAll(site, certificates, w.dir),
	} {
		path := filepath.Join(etc, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			w.t.Fatal(err)
		}
	}
	return filepath.Join(etc, "nginx.conf")
}

// spool says where nginx may write, which is compiled in otherwise. Its workers are
// another user.
func spool(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "nginx-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, what := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		text.WriteString(what + "_temp_path " + dir + "/" + what + ";\n")
	}
	return text.String()
}

// certify makes a certificate, as an authority would, and returns what to trust.
func (w *world) certify() *x509.CertPool {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name, "git.example.org"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour * 24),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		w.t.Fatal(err)
	}
	chain := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for file, text := range map[string][]byte{
		"fullchain.pem": chain, "privkey.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}),
	} {
		if err := os.WriteFile(filepath.Join(w.dir, file), text, 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(chain)
	return roots
}

// nginx has nothing to say about the shipped file.
func TestNginxFileIsClean(t *testing.T) {
	w := start(t, "standin")
	w.certify()
	out, err := exec.Command(nginxProgram(), "-t", "-c", w.nginxConf(shipped(t, "nginx/fjmcp.conf"))).CombinedOutput()
	if err != nil || !contains(string(out), "test is successful") || contains(string(out), "[warn]") {
		t.Errorf("nginx -t says %v\n%s", err, out)
	}
}
