package control

import "testing"

func TestBackendVersion(t *testing.T) {
	for _, tt := range []struct {
		text, version string
		old           bool
	}{
		{"forgejo-mcp version 2.17.9", "2.17.9", true},
		{"2.18.0", "2.18.0", false},
		{"v2.18.0-rc1", "2.18.0", false},
		{"v2.9.12\n", "2.9.12", true},
		{"2.34.1", "2.34.1", false},
		{"10.0.0", "10.0.0", false},
		{"1.99.99", "1.99.99", true},
		{"dev", "", false},
		{"", "", false},
		{"2.17", "2.17", true},
		{"2.19", "2.19", false},
		{"forgejo-mcp 2", "", false},
	} {
		if v, old := BackendVersion(tt.text); v != tt.version || old != tt.old {
			t.Errorf("%q: %q, too old: %v; want %q, %v", tt.text, v, old, tt.version, tt.old)
		}
	}
}
