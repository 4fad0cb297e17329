package policy

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
)

// MaxBytes bounds the JSON of somebody's Rights, since they travel with each login and to
// each running session.
const MaxBytes = 48 << 10

// Rights is what somebody may do: what Grants cover and none of Denials. The zero value
// allows nothing.
type Rights struct {
	Grants  []Cover `json:"grants,omitempty"`
	Denials []Cover `json:"denials,omitempty"`
}

// Cover is what one rule covers, or several grants together.
type Cover struct {
	Rule       string `json:"rule,omitempty"`        // of a denial
	ReadOnly   bool   `json:"read_only,omitempty"`   // of a grant
	WritesOnly bool   `json:"writes_only,omitempty"` // of a denial

	// Names of tools and of resource templates as the forge's table has them. Where both
	// are empty, all are covered, those too that the table does not know.
	Toolsets []string `json:"toolsets,omitempty"`
	Tools    []string `json:"tools,omitempty"`

	// In lower case, as owner/name and as owner; in a repository's name * stands for any
	// characters. An owner covers all of its repositories, and itself. Where both are
	// empty, everything is covered.
	Repositories []string `json:"repositories,omitempty"`
	Owners       []string `json:"owners,omitempty"`
}

// Limits is a list of Rights that must all allow what is to be done. With none there is
// no policy and all is allowed.
type Limits []Rights

// Verdict says whether something is allowed, and if not which rule denies it: none, where
// no grant covers it.
type Verdict struct {
	Allowed bool
	Rule    string
}

var allowed = Verdict{Allowed: true}

// Key is a digest for comparing and for caches: Limits that are written alike have the
// same. It is "" for no policy.
func (l Limits) Key() string {
	if len(l) == 0 {
		return ""
	}
	text, err := json.Marshal(l)
	if err != nil {
		panic("policy: " + err.Error()) // strings and booleans
	}
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:18])
}

func (c *Cover) allTools() bool        { return len(c.Toolsets) == 0 && len(c.Tools) == 0 }
func (c *Cover) allRepositories() bool { return len(c.Repositories) == 0 && len(c.Owners) == 0 }

// unknown is the tool that stands for all that the forge's table does not know.
var unknown = forgeapi.Tool{}

// hasTool reports whether c names t or is for all tools.
func (c *Cover) hasTool(t forgeapi.Tool) bool {
	return c.allTools() || slices.Contains(c.Tools, t.Name) || slices.Contains(c.Toolsets, t.Toolset)
}

// hasOwner reports whether c covers what belongs to an owner itself.
func (c *Cover) hasOwner(owner string) bool {
	return c.allRepositories() || slices.Contains(c.Owners, owner)
}

// hasRepository reports whether c covers owner/name, in lower case.
func (c *Cover) hasRepository(repo string) bool {
	owner, _, _ := strings.Cut(repo, "/")
	return c.hasOwner(owner) || slices.ContainsFunc(c.Repositories, func(pattern string) bool { return glob(pattern, repo) })
}

// glob reports whether pattern, in which * stands for any characters, matches all of s. A
// repository's stands for no slash, since one comes before it and there is only one.
func glob(pattern, s string) bool {
	if strings.IndexByte(pattern, '*') < 0 {
		return pattern == s
	}
	star, taken := -1, 0 // where the last one is, and how much of s it and what is before it take
	at := 0
	for i := 0; i < len(s); {
		switch {
		case at < len(pattern) && pattern[at] == '*':
			star, taken = at, i
			at++
		case at < len(pattern) && pattern[at] == s[i]:
			at++
			i++
		case star >= 0:
			taken++
			at, i = star+1, taken
		default:
			return false
		}
	}
	return strings.Trim(pattern[at:], "*") == ""
}
