package control

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// OldestBackend is the oldest forgejo-mcp that works here.
const OldestBackend = "2.18.0"

var version = regexp.MustCompile(`\bv?(\d{1,6}\.\d{1,6}(\.\d{1,6})?)`)

// BackendVersion finds the version in what forgejo-mcp says of itself, "" if there is
// none, and reports whether it is older than OldestBackend. What has no version ("dev")
// is not too old.
func BackendVersion(text string) (found string, tooOld bool) {
	m := version.FindStringSubmatch(text)
	if m == nil {
		return "", false
	}
	return m[1], slices.Compare(numbers(m[1]), numbers(OldestBackend)) < 0
}

func numbers(version string) (list []int) {
	for part := range strings.SplitSeq(version, ".") {
		n, _ := strconv.Atoi(part) // the pattern lets nothing else pass
		list = append(list, n)
	}
	return list
}
