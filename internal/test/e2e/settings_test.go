package e2e

import (
	"os"
	"regexp"
	"testing"
)

// Every setting stands in the default configuration and in its manual page, and
// neither names one that does not exist.
func TestSettingsAreDocumented(t *testing.T) {
	source := read(t, "internal/operator/config/config.go")
	settings := map[string]bool{}
	for _, m := range regexp.MustCompile("`env:\"([A-Z_]+)\"").FindAllStringSubmatch(source, -1) {
		settings["FJMCP_BROKER_"+m[1]] = true
	}
	if len(settings) < 15 {
		t.Fatalf("found only %d settings", len(settings))
	}
	for _, file := range []string{"packaging/broker.env", "packaging/man/fjmcp-broker.env.5"} {
		named := map[string]bool{}
		for _, name := range regexp.MustCompile(`FJMCP_BROKER_[A-Z_]*[A-Z]`).FindAllString(read(t, file), -1) {
			named[name] = true
			if !settings[name] {
				t.Errorf("%s names %s, which is no setting", file, name)
			}
		}
		for name := range settings {
			if !named[name] {
				t.Errorf("%s does not name %s", file, name)
			}
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(repository + "/" + file)
	must(t, err)
	return string(b)
}
