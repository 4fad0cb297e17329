package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// patience bounds every wait; nothing takes nearly as long.
const patience = 30 * time.Second

// tab is a tab of a browser with cookies of its own.
type tab struct {
	t    *testing.T
	ctx  context.Context
	mu   sync.Mutex
	asks []string // URLs of documents that it asked for, or was sent to
	// refused counts answers that were not shown because of what they say about frames.
	refused int
}

// newBrowser opens a browser, that is a tab whose cookies it shares with no other
// test. JavaScript is off, as it never is needed.
func newBrowser(t *testing.T) *tab {
	t.Helper()
	b := openTab(t, chrome, chromedp.WithNewBrowserContext())
	b.scripts(false)
	return b
}

// another opens a second tab of the same browser.
func (b *tab) another() *tab {
	b.t.Helper()
	other := openTab(b.t, b.ctx)
	other.scripts(false)
	return other
}

func openTab(t *testing.T, parent context.Context, options ...chromedp.ContextOption) *tab {
	t.Helper()
	if missing != nil {
		t.Skip(missing)
	}
	ctx, cancel := chromedp.NewContext(parent, options...)
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx}
	// The tab lives as long as the context of its first action.
	if err := errors.Join(chromedp.Do(ctx), chromedp.Listen(ctx, b.listen)); err != nil {
		t.Fatal(err)
	}
	// Keys go to the tab also while another test's window has the focus.
	command(b, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	return b
}

// scripts switches the JavaScript of pages, but not that of eval.
func (b *tab) scripts(on bool) {
	b.t.Helper()
	command(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on})
}

func command[P, R any](b *tab, c cdp.Command[P, R], params P) R {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	r, err := chromedp.Call(ctx, c, params)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

func (b *tab) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if e.Type == network.ResourceTypeDocument {
			b.asks = append(b.asks, e.Request.URL)
		}
	case *network.EventLoadingFailed:
		if e.BlockedReason != "" || e.ErrorText == "net::ERR_BLOCKED_BY_RESPONSE" {
			b.refused++
		}
	}
}

// asked returns the first URL with that beginning the tab was sent to, "" if it
// never was.
func (b *tab) asked(prefix string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.IndexFunc(b.asks, func(u string) bool { return strings.HasPrefix(u, prefix) }); i >= 0 {
		return b.asks[i]
	}
	return ""
}

func (b *tab) run(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// open types a URL. What becomes of it is for see to tell.
func (b *tab) open(url string) {
	b.t.Helper()
	command(b, page.Navigate, page.NavigateParams{URL: url})
}

// eval runs an expression in the page, past its policy, and returns the string
// it gives. Between two pages there is none to run it in, which is an error.
func (b *tab) eval(expression string) (string, error) {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[string](expression, chromedp.EvalAwaitPromise))
}

func (b *tab) text() string {
	s, _ := b.eval(`document.body ? document.title + "\n" + document.body.innerText : ""`)
	return s
}

// until waits for a condition.
func (b *tab) until(what string, condition func() bool) {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	for !condition() {
		if time.Now().After(deadline) {
			b.t.Fatalf("waited in vain for %s; the tab was sent to\n  %s\nand shows\n%s", what, strings.Join(b.asks, "\n  "), b.text())
		}
		time.Sleep(30 * time.Millisecond)
	}
}

// see waits until the page says all of the texts.
func (b *tab) see(texts ...string) {
	b.t.Helper()
	for _, want := range texts {
		b.until(fmt.Sprintf("%q", want), func() bool { return strings.Contains(b.text(), want) })
	}
}

func (b *tab) lacks(texts ...string) {
	b.t.Helper()
	shown := b.text()
	for _, text := range texts {
		if strings.Contains(shown, text) {
			b.t.Errorf("the page says %q:\n%s", text, shown)
		}
	}
}

// press clicks the button, link, label or summary that says label, or whose accessible
// text begins with it.
func (b *tab) press(label string) {
	b.t.Helper()
	quoted, _ := json.Marshal(label)
	find := fmt.Sprintf(`(() => {
		const all = [...document.querySelectorAll("button, a, label, summary")].filter(e => e.textContent.trim().replace(/\s+/g, " ").startsWith(%s));
		if (all.length == 0) return "";
		document.querySelectorAll("[data-press]").forEach(e => e.removeAttribute("data-press"));
		all[0].setAttribute("data-press", "");
		return "found";
	})()`, quoted)
	b.until("the button "+label, func() bool {
		found, err := b.eval(find)
		return err == nil && found != ""
	})
	b.run(chromedp.Click(chromedp.CSS("[data-press]")))
}

// key presses keys as a person without a mouse does.
func (b *tab) key(keys string) {
	b.t.Helper()
	b.run(chromedp.KeyEvent(keys))
}

// enter presses Tab to go into a page that was just opened. One that is still
// being set up loses the key, so it is pressed again while nothing has the focus.
func (b *tab) enter() {
	b.t.Helper()
	var pressed time.Time
	b.until("the focus to enter the page", func() bool {
		if inside, _ := b.eval(`"" + (document.activeElement !== document.body)`); inside == "true" {
			return true
		}
		if time.Since(pressed) > 2*time.Second {
			b.key(kb.Tab)
			pressed = time.Now()
		}
		return false
	})
}

// focused is the text or value of what has the focus.
func (b *tab) focused() string {
	s, _ := b.eval(`(e => e.labels && e.labels.length ? e.labels[0].innerText : e.innerText || e.value || "")(document.activeElement)`)
	return strings.Join(strings.Fields(s), " ")
}

// signIn fills in the forge's login page.
func (b *tab) signIn(user string) {
	b.t.Helper()
	b.see("Sign in")
	b.run(
		chromedp.SendKeys(chromedp.CSS(`input[name="user_name"]`), user),
		chromedp.SendKeys(chromedp.CSS(`input[name="password"]`), user+"-password"),
	)
	b.press("Sign in")
}

// look is a size of window and a theme.
type look struct {
	name          string
	width, height int64
	dark          bool
}

var looks = []look{
	{"desktop-light", 1280, 900, false}, {"desktop-dark", 1280, 900, true},
	{"phone-light", 390, 844, false}, {"phone-dark", 390, 844, true},
}

func (b *tab) wear(l look) {
	b.t.Helper()
	scheme := "light"
	if l.dark {
		scheme = "dark"
	}
	command(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: l.width, Height: l.height, DeviceScaleFactor: 1, Mobile: l.width < 500,
	})
	command(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
}

// inspect holds the page against axe-core and takes its picture, in every look.
func (b *tab) inspect(name string) {
	b.t.Helper()
	b.scripts(true)
	defer b.scripts(false)
	if _, err := b.eval(axe + `;""`); err != nil {
		b.t.Fatal(err)
	}
	for _, l := range looks {
		b.wear(l)
		b.overflow(name, l)
		b.picture(name + "-" + l.name)
		b.accessible(name + " " + l.name)
	}
}

// overflow wants no page wider than the window.
func (b *tab) overflow(name string, l look) {
	b.t.Helper()
	text, err := b.eval(`String(document.documentElement.scrollWidth)`)
	if width, _ := strconv.ParseInt(text, 10, 64); width == 0 || width > l.width {
		b.t.Errorf("%s: %s pixels wide in a window of %d, %v", name, text, l.width, err)
	}
}

func (b *tab) picture(name string) {
	b.t.Helper()
	dir := os.Getenv("FJMCP_SCREENSHOTS")
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		b.t.Error(err)
	}
}

// accessible wants no violation of any of axe-core's rules.
func (b *tab) accessible(name string) {
	b.t.Helper()
	var result struct {
		Passes     int
		Violations []struct {
			ID, Help string
			Nodes    []struct{ HTML string }
		}
	}
	answer, err := b.eval(`axe.run(document, {preload: false}).then(r => JSON.stringify({passes: r.passes.length, violations: r.violations}))`)
	if err == nil {
		err = json.Unmarshal([]byte(answer), &result)
	}
	if err != nil {
		b.t.Fatalf("%s: cannot run axe-core: %v", name, err)
	}
	if result.Passes < 10 {
		b.t.Errorf("%s: only %d rules of axe-core passed", name, result.Passes)
	}
	for _, v := range result.Violations {
		b.t.Errorf("%s: %s: %s\n%s", name, v.ID, v.Help, v.Nodes[0].HTML)
	}
}

// back presses the browser's button.
func (b *tab) back() {
	b.t.Helper()
	history := command(b, page.GetNavigationHistory, cdp.Empty{})
	command(b, page.NavigateToHistoryEntry, page.NavigateToHistoryEntryParams{EntryID: history.Entries[history.CurrentIndex-1].ID})
}

// refusedFrames counts the requests for a frame that the browser did not show
// since the tab was opened last.
func (b *tab) refusedFrames() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refused
}
