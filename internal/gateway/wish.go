package gateway

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/gateway/view"
	"github.com/fjmcp/fjmcp-broker/internal/proto/endpoint"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// narrow has the request see, and do, no more than its URL and headers say. What they say
// together is the least of it: neither takes back what the other has left out. An error is
// for the client.
func (q *request) narrow() error {
	wish := view.View{ReadOnly: q.at.ReadOnly}
	if q.at.Toolset != "" {
		wish.Toolsets = []string{q.at.Toolset}
	}
	reads, err := readsOnly(q.Header.Get(mcp.HeaderReadOnly))
	if err != nil {
		return err
	}
	sets, err := toolsets(q.Header.Values(mcp.HeaderToolsets))
	switch {
	case err != nil:
		return err
	case sets != nil && q.at.Toolset != "":
		return fmt.Errorf("%s is for addresses of all toolsets, and this one is of %s alone; leave the header out, or use %s/x/all", mcp.HeaderToolsets, q.at.Toolset, mcp.PathStreamable)
	case sets != nil:
		wish.Toolsets = sets
	}
	if wish.ReadOnly = wish.ReadOnly || reads; wish.ReadOnly {
		q.access.ViewReadOnly, q.access.Scope = true, model.ScopeRead
	}
	q.Request = q.WithContext(view.With(q.Context(), wish))
	return nil
}

// readsOnly reads the header that asks for reading only.
func readsOnly(value string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(value)) {
	case "true":
		return true, nil
	case "false", "":
		return false, nil
	}
	return false, fmt.Errorf("%s must be true or false", mcp.HeaderReadOnly)
}

// toolsets reads the header that asks for some toolsets, in the order of the table and each
// once; nil for all.
func toolsets(values []string) ([]string, error) {
	var asked []string
	for name := range strings.SplitSeq(strings.Join(values, ","), ",") {
		name = strings.TrimSpace(name)
		if name != "" && !endpoint.Offers(name) {
			return nil, fmt.Errorf("%s names %q, which is no toolset; they are %s, and all", mcp.HeaderToolsets, name[:min(len(name), 64)], strings.Join(forgeapi.Toolsets(), ", "))
		}
		asked = append(asked, name)
	}
	known := slices.DeleteFunc(forgeapi.Toolsets(), func(name string) bool { return !slices.Contains(asked, name) })
	if len(known) == 0 || slices.Contains(asked, endpoint.Every) {
		return nil, nil
	}
	return known, nil
}
