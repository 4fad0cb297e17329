package database

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// No write goes past the clock and the retries.
func TestAllWritesAreTimed(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	writes := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(file, "_test.go") {
			writes += len(regexp.MustCompile(`\bd\.write\.`).FindAll(text, -1))
		}
	}
	if writes != 1 {
		t.Errorf("the writing connection is used in %d places, not by DB.writing alone", writes)
	}
}
