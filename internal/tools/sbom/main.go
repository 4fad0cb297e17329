// Command sbom writes a bill of materials of Go programs, of any architecture, in CycloneDX
// 1.6 as JSON, from what Go's linker has noted in them:
//
//	sbom -version VERSION -time SECONDS PROGRAM...
//
// The same programs make the same file. See https://cyclonedx.org/docs/1.6/json/
package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

type bom struct {
	Format       string       `json:"bomFormat"`
	SpecVersion  string       `json:"specVersion"`
	SerialNumber string       `json:"serialNumber"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Timestamp string    `json:"timestamp"`
	Component component `json:"component"`
}

type component struct {
	Type    string `json:"type"`
	Ref     string `json:"bom-ref"`
	Name    string `json:"name"`
	Version string `json:"version"`
	PURL    string `json:"purl,omitempty"`
	Hashes  []hash `json:"hashes,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn"`
}

func main() {
	version := flag.String("version", "", "version of the product")
	seconds := flag.Int64("time", 0, "time of the release, in seconds since 1970")
	flag.Parse()
	b, err := describe(*version, time.Unix(*seconds, 0), flag.Args())
	if err == nil {
		e := json.NewEncoder(os.Stdout)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		err = e.Encode(b)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

// describe makes the bill: the product, its programs, and the modules that each has in it.
func describe(version string, at time.Time, programs []string) (*bom, error) {
	product := component{Type: "application", Ref: "fjmcp-broker", Name: "fjmcp-broker", Version: version}
	b := &bom{Format: "CycloneDX", SpecVersion: "1.6", Version: 1,
		Metadata: metadata{Timestamp: at.UTC().Format(time.RFC3339), Component: product}}
	whole := dependency{Ref: product.Ref}
	modules := map[string]component{}
	for _, path := range programs {
		program, inside, err := read(path, version)
		if err != nil {
			return nil, err
		}
		b.Components = append(b.Components, program)
		whole.DependsOn = append(whole.DependsOn, program.Ref)
		own := dependency{Ref: program.Ref}
		for _, m := range inside {
			modules[m.Ref] = m
			own.DependsOn = append(own.DependsOn, m.Ref)
		}
		b.Dependencies = append(b.Dependencies, own)
	}
	b.Dependencies = append(b.Dependencies, whole)
	for _, ref := range slices.Sorted(maps.Keys(modules)) {
		b.Components = append(b.Components, modules[ref])
	}
	text, err := json.Marshal(b)
	b.SerialNumber = serial(text)
	return b, err
}

// read returns a program and the modules in it, Go's standard library among them under the
// name that vulnerability databases know it by.
func read(path, version string) (program component, modules []component, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return program, nil, err
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return program, nil, fmt.Errorf("%s is no program of Go: %w", path, err)
	}
	sum := sha256.Sum256(text)
	name := filepath.Base(path)
	program = component{Type: "application", Ref: "program:" + name, Name: name, Version: version,
		Hashes: []hash{{"SHA-256", hex.EncodeToString(sum[:])}}}
	goVersion, _, _ := strings.Cut(strings.TrimPrefix(info.GoVersion, "go"), " ")
	modules = []component{library("stdlib", goVersion)}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		modules = append(modules, library(m.Path, m.Version))
	}
	return program, modules, nil
}

// library is a module. For its URL see
// https://github.com/package-url/purl-spec/blob/main/types-doc/golang-definition.md
func library(path, version string) component {
	purl := "pkg:golang/" + strings.ToLower(path) + "@" + strings.ReplaceAll(url.PathEscape(version), "+", "%2B")
	return component{Type: "library", Ref: purl, Name: path, Version: version, PURL: purl}
}

// serial makes a UUID of version 8 (RFC 9562) of what the bill says, in place of a random one.
func serial(text []byte) string {
	id := sha256.Sum256(text)
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:16])
}
