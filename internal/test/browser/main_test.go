package browser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/fjmcp/fjmcp-broker/internal/test/npm"
	"github.com/fjmcp/fjmcp-broker/internal/test/programs"
)

var (
	bin     string          // the programs under test
	chrome  context.Context // the one browser process; a context of each test is made from it
	axe     string          // source of axe-core
	missing error           // why there is no browser to test with
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	program, err := findChromium()
	if err != nil {
		if os.Getenv("CI") != "" {
			return 1, err
		}
		missing = err
		return m.Run(), nil
	}
	if bin, err = os.MkdirTemp("", "fjmcp-browsertest-"); err != nil {
		return 1, err
	}
	defer os.RemoveAll(bin)
	if err := programs.Build(context.Background(), bin, "fjmcp-broker", "fjmcp-session", programs.Standin); err != nil {
		return 1, err
	}
	if axe, err = fetchAxe(); err != nil {
		return 1, err
	}
	stop, err := startChromium(program)
	if err != nil {
		return 1, err
	}
	defer stop()
	return m.Run(), nil
}

func findChromium() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("chromium is not installed")
}

// startChromium starts the browser. Certificates are not checked: those of the
// tests are their own.
func startChromium(program string) (stop func(), err error) {
	profile, err := os.MkdirTemp("", "fjmcp-chromium-")
	if err != nil {
		return nil, err
	}
	options := []chromedp.ExecAllocatorOption{chromedp.ExecPath(program), chromedp.UserDataDir(profile), chromedp.WSURLReadTimeout(time.Minute)}
	for _, flag := range []string{
		"headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
		"disable-component-update", "disable-sync", "disable-dev-shm-usage", "hide-scrollbars", "ignore-certificate-errors",
	} {
		options = append(options, chromedp.Flag(flag, true))
	}
	// Each window would prepare two more pages for its address bar.
	options = append(options, chromedp.Flag("disable-features", "WebUIOmniboxPopup,WebUIOmniboxAimPopup"))
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	var close context.CancelFunc
	chrome, close = chromedp.NewContext(allocator)
	stop = func() {
		close()
		end()
		os.RemoveAll(profile)
	}
	if err := chromedp.Do(chrome); err != nil {
		stop()
		return nil, fmt.Errorf("cannot start %s: %w", program, err)
	}
	return stop, nil
}

// fetchAxe returns the source of axe-core (MPL-2.0), which is not part of this
// project.
func fetchAxe() (string, error) {
	dir, err := npm.Install(context.Background(), "testdata/npm")
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile(filepath.Join(dir, "node_modules", "axe-core", "axe.min.js"))
	return string(b), err
}
