package view

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/policy"
)

// held is what a Cache holds, counted anew.
func (c *Cache) heldNow() (bytes int) {
	for at := c.order.Front(); at != nil; at = at.Next() {
		s := at.Value.(*source)
		bytes += len(s.result)
		for _, made := range s.made {
			bytes += len(made)
		}
	}
	return bytes
}

// Sessions of one backend hold its list once, whatever policy their users are under, as
// long as they see the same of it.
func TestListsAreShared(t *testing.T) {
	c := NewCache()
	list := toolsFor(forgejoTools()...)
	var first []byte
	for i := range 1000 {
		limits := policy.Limits{{Grants: []policy.Cover{{Toolsets: []string{"wiki"}, Repositories: []string{fmt.Sprintf("user%d/*", i)}}}}}
		got := c.List(mcp.MethodToolsList, &Filter{Limits: limits}, bytes.Clone(list))
		if first == nil {
			first = got
		}
		if &got[0] != &first[0] {
			t.Fatalf("session %d has a list of its own", i)
		}
	}
	if n := c.heldNow(); n > 2*len(list) || n != c.held {
		t.Errorf("%d bytes are held, %d by its own count", n, c.held)
	}
	// A list of another method is another, whatever its bytes.
	if got := c.List(mcp.MethodPromptsList, &Filter{Reader: true}, list); !bytes.Equal(got, list) {
		t.Error("a list of prompts was filtered as one of tools")
	}
}

// Backends that list something else each time, and users who each see something else, fill
// no more than the Cache may hold, and get what is theirs.
func TestCacheIsBounded(t *testing.T) {
	c := NewCache()
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 60 {
				own := fmt.Sprintf("do_nothing_%d_%d", worker, i)
				list := toolsFor(append(forgejoTools(), own)...)
				if i%2 == 1 {
					list = toolsFor(forgejoTools()...)
				}
				f := &Filter{View: View{Toolsets: forgeapi.Toolsets()[:1+i%8]}}
				if i%4 == 0 {
					f = &Filter{}
				}
				if got := c.List(mcp.MethodToolsList, f, list); bytes.Contains(got, []byte(own)) != (i%4 == 0) || !bytes.Contains(got, []byte(`"list_my_repos"`)) {
					t.Errorf("%s: got %.300s", own, got)
				}
			}
		})
	}
	all.Wait()
	if n := c.heldNow(); n != c.held || n > maxHeld || n < maxHeld/2 || len(c.by) != c.order.Len() {
		t.Errorf("%d bytes are held, %d by its own count, %d keys for %d sources", n, c.held, len(c.by), c.order.Len())
	}
	huge := toolsFor(forgejoTools()...)
	for len(huge) < maxHeld {
		huge = append(huge, huge...)
	}
	before := c.held
	c.List(mcp.MethodPromptsList, &Filter{}, huge)
	if c.held != before {
		t.Error("a list that is too long is held")
	}
}
