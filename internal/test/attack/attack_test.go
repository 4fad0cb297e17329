package attack

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fjmcp/fjmcp-broker/internal/test/nspawn"
)

// attack is one thing that an attacker tries, from within the container or from outside.
type attack struct {
	who   string // C, B, L or N
	name  string
	right string // what must come of it

	in  func(*self) result  // run as the attacker, in the container
	out func(*world) result // run by the test, which sees all sides
}

// result is what came of an attack.
type result struct {
	OK  bool   `json:"ok"`
	Got string `json:"got"`
}

// attacks are all of them, in the order in which they are tried: what does most harm
// comes last.
func attacks() []attack {
	return slices.Concat(
		childFiles(), childProcesses(), childCalls(), childNetwork(), childEgress(), childRoutes(), childHeaders(), childReflection(), childReadOnly(), childPolicy(),
		localFiles(), localBus(), localProcesses(),
		brokerFiles(), brokerCalls(), brokerLauncher(), brokerOutside(),
		networkRegistration(), networkAuthorize(), networkTokens(), networkHTTP(), networkSSRF(),
		hostileNames(), childOutput(), childLimits(), localForge(), networkFloods(),
	)
}

// fewest is how many attacks there are to be at least.
const fewest = 150

func TestAttack(t *testing.T) {
	if err := nspawn.Check(); err != nil {
		t.Skip(err)
	}
	wanted, err := regexp.Compile(os.Getenv("FJMCP_ATTACK"))
	if err != nil {
		t.Fatal(err)
	}
	table := newTable(t)
	for _, suite := range []string{"bookworm", "trixie"} {
		t.Run(suite, func(t *testing.T) {
			w := newWorld(t, suite)
			for _, a := range attacks() {
				if !wanted.MatchString(a.who + " " + a.name) {
					continue
				}
				r := w.carryOut(a)
				table.line(suite, a, r)
				if !r.OK {
					t.Errorf("%s %s: want %s, got %s", a.who, a.name, a.right, r.Got)
				}
			}
		})
	}
}

// Every attack has a name of its own, says what is right, and is tried in one way.
func TestTable(t *testing.T) {
	all, seen := attacks(), map[string]bool{}
	for _, a := range all {
		id := a.who + " " + a.name
		if !strings.Contains("CBLN", a.who) || a.name == "" || a.right == "" || (a.in == nil) == (a.out == nil) || seen[id] {
			t.Errorf("%q is no attack, or is there twice", id)
		}
		seen[id] = true
	}
	if len(all) < fewest {
		t.Errorf("%d attacks are fewer than %d", len(all), fewest)
	}
}

// table writes TAP to $FJMCP_ATTACK_TAP, else to the test's log.
type table struct {
	t    *testing.T
	file *os.File
	n    int
}

func newTable(t *testing.T) *table {
	tap := &table{t: t}
	if path := os.Getenv("FJMCP_ATTACK_TAP"); path != "" {
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		tap.file = f
		t.Cleanup(func() { f.Close() })
	}
	tap.print("TAP version 14")
	t.Cleanup(func() { tap.print(fmt.Sprintf("1..%d", tap.n)) })
	return tap
}

func (tap *table) line(suite string, a attack, r result) {
	tap.n++
	ok := "ok"
	if !r.OK {
		ok = "not ok"
	}
	text := fmt.Sprintf("%s %d - %s %s %s: want %s, got %s", ok, tap.n, suite, a.who, a.name, a.right, r.Got)
	tap.print(strings.ReplaceAll(printable(text), "#", `\#`))
}

func (tap *table) print(line string) {
	if tap.file == nil {
		tap.t.Log(line)
	} else if _, err := fmt.Fprintln(tap.file, line); err != nil {
		tap.t.Error(err)
	}
}

// printable keeps a hostile answer from what it would do to a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if strange(r) || r == '\n' {
			return '·'
		}
		return r
	}, s)
}

// strange tells characters that may not reach a terminal or a log: control characters
// but the end of line, and those that turn the direction of text or cannot be seen.
func strange(r rune) bool {
	return r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 || r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e ||
		r >= 0x2060 && r <= 0x2069 || r == 0xfeff
}

func verdict(ok bool, format string, args ...any) result {
	return result{ok, short(fmt.Sprintf(format, args...))}
}

func short(s string) string {
	if s = strings.Join(strings.Fields(s), " "); len(s) > 300 {
		return s[:300] + "…"
	}
	return s
}

// refused wants err to be a refusal for want of rights, or one of the further errors.
// An error of another kind says that the attack was let through and came to grief later.
func refused(err error, further ...error) result {
	if err == nil {
		return result{false, "it worked"}
	}
	for _, e := range append(further, unix.EPERM, unix.EACCES) {
		if errors.Is(err, e) {
			return result{true, err.Error()}
		}
	}
	return result{false, "let through: " + err.Error()}
}

// none wants nothing to be found.
func none(found []string) result {
	if len(found) == 0 {
		return result{true, "none"}
	}
	slices.Sort(found)
	return verdict(false, "%d: %s", len(found), strings.Join(found[:min(len(found), 4)], ", "))
}
