package forgeproxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
	"github.com/fjmcp/fjmcp-broker/internal/proto/policy"
)

// maxNaming bounds in bytes a body that is read for the repositories that it names.
const maxNaming = 1 << 20

// force is what the broker has said last.
type force struct {
	writable bool
	limits   policy.Limits
	placed   bool           // the limits depend on repositories
	connects policy.Verdict // of limits, on anything at all
}

// newForce takes limits as they came. What cannot be read allows nothing.
func newForce(m control.Mode, limits json.RawMessage) (*force, error) {
	f := &force{writable: m == control.ModeReadWrite}
	var err error
	if limits != nil {
		f.limits, err = policy.ParseLimits(limits)
	}
	if err != nil {
		f.limits = policy.Nothing
	}
	f.placed, f.connects = f.limits.Placed(), f.limits.Connect()
	return f, err
}

// judge returns why the policy does not allow r, whose path is below the forge's. It reads
// the body where that says which repositories r is about.
func (f *force) judge(r *http.Request, path string, d forgeapi.Decision) error {
	if len(f.limits) == 0 {
		return nil
	}
	if path == versionPath && !writes(r) { // which a backend asks before it serves anything
		return refusedBy(f.connects, "")
	}
	fields := func(string) string { return "" }
	if f.placed && d.NamesInBody() {
		var err error
		if fields, err = readFields(r); err != nil {
			return err
		}
	}
	names := d.Names(fields)
	q := policy.Request{Write: writes(r), Routes: d.Routes(), Repositories: names.Repositories, Owners: names.Owners, Across: names.Across}
	v := f.limits.Request(q)
	if v.Allowed {
		return nil
	}
	return refusedBy(v, f.advice(q))
}

// advice is what the user may do instead, "" where nothing of the kind is allowed.
func (f *force) advice(q policy.Request) string {
	across := q.Across
	q.Repositories, q.Owners, q.Across = nil, nil, false
	if !f.placed || !f.limits.Request(q).Allowed {
		return ""
	}
	hint := "only some repositories may be used here, and this is about another one, or about its owner"
	if across {
		hint = "only some repositories may be used here, and this is about several, or about one that cannot be told: name one of these by owner and repo"
	}
	for _, r := range q.Routes {
		if h, ok := hints[hinted{r.Path, across}]; ok {
			hint += "; " + h
		}
	}
	return "; " + hint
}

// hinted is a request for which there is a hint.
type hinted struct {
	path   string
	across bool
}

// hints say how a model gets to the same where only some repositories may be used.
var hints = map[hinted]string{
	{forgeapi.Root + "/repos/issues/search", true}:    "list_repo_issues lists its issues",
	{forgeapi.Root + "/notifications", true}:          "list_repo_notifications and mark_repo_notifications_read are about one repository",
	{forgeapi.Root + "/user/times", true}:             "list_repo_tracked_times is about one repository",
	{forgeapi.Root + "/user/repos", true}:             "a new one has to be an organization's",
	{"/attachments/{uuid}", true}:                     "an attachment's address does not tell its repository, so it cannot be downloaded",
	{repoRoot + "/issues/{index}/dependencies", true}: "the issues that one depends on may be of other repositories",
	{repoRoot + "/issues/{index}/blocks", true}:       "the issues that depend on one may be of other repositories",
	{repoRoot + "/forks", true}:                       "a fork has to be given to an organization by name",
	{forgeapi.Root + "/orgs/{org}/labels", false}:     "list_repo_labels lists those of the repository alone with include_org_labels set to false",
	{forgeapi.Root + "/orgs/{org}/repos", false}:      "delete_org_label does not count where the label is used with delete_mode set to force",
}

const (
	repoRoot    = forgeapi.Root + "/repos/{owner}/{repo}"
	versionPath = forgeapi.Root + "/version"
)

// refusedBy is nil where v allows.
func refusedBy(v policy.Verdict, advice string) error {
	if v.Allowed {
		return nil
	}
	text := "no rule of this server's policy allows this" + advice
	if v.Rule != "" {
		text = `rule "` + v.Rule + `" of this server's policy forbids this` + advice
	}
	return &refusal{reason: control.ReasonPolicy, rule: v.Rule, text: text + nothingSent}
}

func writes(r *http.Request) bool { return r.Method != http.MethodGet && r.Method != http.MethodHead }

var errNaming = malformed("where only some repositories may be used, this request has to be a JSON object of at most 1 MiB in which each name stands once, without a query")

// readFields returns the values of the fields of r's body, which is read, by their names.
// Forges are lenient: they take names in any case, some without their dashes, and where
// there is no body the query for one.
func readFields(r *http.Request) (func(name string) string, error) {
	if r.URL.RawQuery != "" {
		return nil, errNaming
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxNaming+1))
	if err != nil || len(body) > maxNaming {
		return nil, errNaming
	}
	r.Body.Close()
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	if len(body) == 0 {
		r.Body = http.NoBody
	}
	fields, err := parseFields(body)
	if err != nil {
		return nil, errNaming
	}
	return func(name string) string { return fields[fold(name)] }, nil
}

// parseFields reads one JSON object, of which it keeps what is no null. A value that is no
// string becomes one that is no name.
func parseFields(body []byte) (map[string]string, error) {
	fields := make(map[string]string)
	if len(body) == 0 {
		return fields, nil
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errNaming
	}
	for d.More() {
		t, err := d.Token()
		var value json.RawMessage
		if err != nil || d.Decode(&value) != nil {
			return nil, errNaming
		}
		name := fold(t.(string))
		if _, twice := fields[name]; twice {
			return nil, errNaming
		}
		fields[name] = text(value)
	}
	if _, err := d.Token(); err != nil {
		return nil, errNaming
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errNaming
	}
	return fields, nil
}

const noName = ":"

func text(value json.RawMessage) string {
	var s *string
	if json.Unmarshal(value, &s) != nil {
		return noName
	}
	if s == nil {
		return ""
	}
	return *s
}

// fold is the same for all names that a forge may take for one.
func fold(name string) string {
	return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(strings.ToUpper(name)))
}
