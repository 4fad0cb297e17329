package e2e

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
)

// The table of docs/operations.md says what TestE2EBreaks tries, in the same words.
func TestBreaksAreDocumented(t *testing.T) {
	var want strings.Builder
	want.WriteString("| what is broken | a new login | a call in a session | `fjmcpctl status` | `fjmcpctl doctor` | `/readyz` | journal | what mends it |\n|---|---|---|---|---|---|---|---|\n")
	seen := map[string]bool{}
	for _, row := range breaks() {
		want.WriteString(row.documented())
		if seen[row.what] {
			t.Errorf("two rows are called %q", row.what)
		}
		seen[row.what] = true
	}
	if len(seen) < 20 {
		t.Errorf("there are only %d rows", len(seen))
	}
	_, section, _ := strings.Cut(read(t, "docs/operations.md"), "\n## What breaks, and what you see\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var got strings.Builder
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "|") {
			got.WriteString(line)
		}
	}
	if got.String() != want.String() {
		t.Errorf("docs/operations.md has\n%s\nthe test is of\n%s", &got, &want)
	}
}

// documented is the row's line in the documentation.
func (r broken) documented() string {
	ready := "200"
	switch r.ready {
	case "":
	case noAnswer:
		ready = noAnswer
	default:
		ready = "503, `" + r.ready + "`"
	}
	status := fmt.Sprintf("%d, %s", r.exit, cmp.Or(quoted(r.status), "healthy"))
	doctor := "the same"
	if exit, words := r.ofDoctor(); exit != r.exit || words != r.status {
		doctor = fmt.Sprintf("%d, %s", exit, quoted(words))
	}
	return "| " + strings.Join([]string{r.what, cmp.Or(quoted(r.login), "works"), cmp.Or(quoted(r.call), "works"), status, doctor, ready, cmp.Or(quoted(r.journal), "nothing"), r.cure}, " | ") + " |\n"
}

func quoted(text string) string {
	if text == "" {
		return ""
	}
	return `"` + text + `"`
}
