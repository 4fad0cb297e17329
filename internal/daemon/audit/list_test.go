package audit

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// found are the first groups of all matches, sorted.
func found(text, pattern string) (all []string) {
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	slices.Sort(all)
	return all
}

// section is what stands below a heading of a page.
func section(page, heading string) string {
	_, rest, _ := strings.Cut(page, "\n## "+heading+"\n")
	text, _, _ := strings.Cut(rest, "\n## ")
	return text
}

// Code, catalog and page know the same events; none has two ids, and no id two events.
func TestEventsAreListed(t *testing.T) {
	code := found(read(t, "kinds.go"), `Kind = "(\w+)"`)
	if len(code) < 20 {
		t.Fatalf("kinds.go has only %v", code)
	}
	page := found(section(read(t, "../../../docs/audit.md"), "Events"), "(?m)^\\| `(\\w+)`")
	if page = slices.DeleteFunc(page, func(k string) bool { return k == "FJMCP_EVENT" }); !slices.Equal(page, code) {
		t.Errorf("docs/audit.md has\n%v, the code\n%v", page, code)
	}
	catalog := map[Kind]string{}
	text := read(t, "../../../packaging/fjmcp-broker.catalog")
	for _, m := range regexp.MustCompile(`(?m)^# (\w+)\n-- ([0-9a-f]{32})\nSubject: \S.*\nDefined-By: fjmcp-broker\nSupport: .*\nDocumentation: .*\n\n\S`).FindAllStringSubmatch(text, -1) {
		catalog[Kind(m[1])] = m[2]
	}
	if n := strings.Count(text, "\n-- "); !maps.Equal(catalog, messageIDs) || n != len(code) {
		t.Errorf("the catalog has %d entries,\n%v, the code\n%v", n, catalog, messageIDs)
	}
	if ids := slices.Sorted(maps.Values(messageIDs)); len(slices.Compact(ids)) != len(code) {
		t.Errorf("%d ids for %d events", len(ids), len(code))
	}
}

// The page tells of each field that an event can have, and the catalog names no other.
func TestFieldsAreListed(t *testing.T) {
	var got map[string]string
	l := recording(&got)
	var e Event
	for v, i := reflect.ValueOf(&e).Elem(), 0; i < v.NumField(); i++ {
		if f := v.Field(i); f.Kind() == reflect.String && f.CanSet() {
			f.SetString("x")
		}
	}
	e.Kind = ToolCall
	l.Event(By(context.Background(), "root (uid 0)"), e)
	for _, journals := range []string{"MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER"} {
		delete(got, journals)
	}
	code := slices.Sorted(maps.Keys(got))
	page := found(section(read(t, "../../../docs/audit.md"), "Fields"), "(?m)^\\| `(\\w+)`")
	if !slices.Equal(page, code) {
		t.Errorf("docs/audit.md has\n%v, the code\n%v", page, code)
	}
	for _, named := range found(read(t, "../../../packaging/fjmcp-broker.catalog"), `@(\w+)@`) {
		if !slices.Contains(code, named) {
			t.Errorf("the catalog names %s", named)
		}
	}
}
