package main

import (
	"debug/buildinfo"
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"slices"
	"testing"
	"time"
)

// Of this very program: it has in it what Go says, and what CycloneDX 1.6 requires.
func TestBillOfThisProgram(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 30, 17, 0, 0, 0, time.UTC)
	b, err := describe("1.2.3", at, []string{self})
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := describe("1.2.3", at, []string{self}); !reflect.DeepEqual(again, b) {
		t.Error("the same program makes another bill")
	}
	check(t, b)
	info, err := buildinfo.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range info.Deps {
		if !slices.ContainsFunc(b.Components, func(c component) bool { return c.Name == m.Path && c.Version == m.Version }) {
			t.Errorf("%s %s is missing", m.Path, m.Version)
		}
	}
	if got := b.Metadata.Component; got.Name != "fjmcp-broker" || got.Version != "1.2.3" || b.Metadata.Timestamp != "2026-11-30T17:00:00Z" {
		t.Errorf("it is of %+v, %s", got, b.Metadata.Timestamp)
	}
}

// check holds a bill against what the schema requires of the parts that it has.
func check(t *testing.T, b *bom) {
	t.Helper()
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		BOMFormat, SpecVersion, SerialNumber string
		Version                              int
		Components                           []map[string]any
		Dependencies                         []struct {
			Ref       string
			DependsOn []string
		}
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	uuid := regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	if doc.BOMFormat != "CycloneDX" || doc.SpecVersion != "1.6" || doc.Version < 1 || !uuid.MatchString(doc.SerialNumber) {
		t.Errorf("it begins with %q %q %d %q", doc.BOMFormat, doc.SpecVersion, doc.Version, doc.SerialNumber)
	}
	refs := map[string]bool{b.Metadata.Component.Ref: true}
	for _, c := range doc.Components {
		ref, _ := c["bom-ref"].(string)
		if c["name"] == "" || c["version"] == "" || ref == "" || refs[ref] {
			t.Errorf("a component has no name, no version, or another's reference: %v", c)
		}
		if c["type"] != "library" && c["type"] != "application" {
			t.Errorf("a component is a %v", c["type"])
		}
		refs[ref] = true
	}
	for _, d := range doc.Dependencies {
		for _, ref := range append(d.DependsOn, d.Ref) {
			if !refs[ref] {
				t.Errorf("%s depends on %s, which is no component", d.Ref, ref)
			}
		}
	}
}

func TestPackageURLs(t *testing.T) {
	for path, want := range map[string]string{
		"github.com/Masterminds/semver/v3": "pkg:golang/github.com/masterminds/semver/v3@v1.0.0%2Bincompatible",
		"stdlib":                           "pkg:golang/stdlib@v1.0.0%2Bincompatible",
	} {
		if got := library(path, "v1.0.0+incompatible").PURL; got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

func TestNoProgram(t *testing.T) {
	if b, err := describe("1", time.Now(), []string{"main.go"}); err == nil {
		t.Errorf("main.go has the bill %+v", b)
	}
}
