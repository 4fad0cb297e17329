package store_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

// What a slow question has brought does not replace what a later one has.
func TestMemberships(t *testing.T) { teststore.Both(t, testMemberships) }

func testMemberships(t *testing.T) {
	s := teststore.Open(t, teststore.Path(t), nil)
	now := time.Now().Truncate(time.Millisecond).UTC()
	l := teststore.LogIn(t, s, "alice", now)
	if _, err := s.Membership(t.Context(), l.User.ID); !errors.Is(err, model.ErrNotFound) {
		t.Fatalf("before the first question: %v", err)
	}
	early := model.Membership{UserID: l.User.ID, AskedAt: now, Administrator: true, Organizations: []model.Named{{ID: 12, Name: "acme"}}, Teams: []model.Named{{ID: 4, Name: "acme/developers"}}}
	late := model.Membership{UserID: l.User.ID, AskedAt: now.Add(time.Minute)}
	for _, step := range []struct{ put, want model.Membership }{{early, early}, {late, late}, {early, late}} {
		must(t, s.PutMembership(t.Context(), step.put))
		got, err := s.Membership(t.Context(), l.User.ID)
		must(t, err)
		if !reflect.DeepEqual(got, step.want) {
			t.Errorf("got  %+v\nwant %+v", got, step.want)
		}
	}
}

func TestPolicyNames(t *testing.T) { teststore.Both(t, testPolicyNames) }

func testPolicyNames(t *testing.T) {
	s := teststore.Open(t, teststore.Path(t), nil)
	var many []store.PolicyName
	for i := range 2*1000 + 1 {
		many = append(many, store.PolicyName{Kind: "user", Name: fmt.Sprintf("user%05d", i), ID: int64(i + 1)})
	}
	for _, list := range [][]store.PolicyName{many, {{Kind: "user", Name: "alice", ID: 7}, {Kind: "organization", Name: "alice", ID: 9}}, nil} {
		must(t, s.SetPolicyNames(t.Context(), list))
		got, err := s.PolicyNames(t.Context())
		must(t, err)
		if len(got) != len(list) {
			t.Fatalf("got %d names, want %d", len(got), len(list))
		}
		want := map[store.PolicyName]bool{}
		for _, n := range list {
			want[n] = true
		}
		for _, n := range got {
			if !want[n] {
				t.Errorf("%+v was never set", n)
			}
		}
	}
}

// A ceiling is the grant's, and every access of it has it. What changes it shows in the
// generation, by which accesses are kept.
func TestCeiling(t *testing.T) { teststore.Both(t, testCeiling) }

func testCeiling(t *testing.T) {
	path := teststore.Path(t)
	s := teststore.Open(t, path, nil)
	now := time.Now()
	l := teststore.LogIn(t, s, "alice", now)
	code := model.NewToken(model.PrefixCode)
	grant := model.Grant{ID: model.NewID(), UserID: l.User.ID, ClientID: l.Client.ID, Scope: "forgejo:read", CreatedAt: now, Ceiling: `{"grants":[{"rule":"staff"}]}`}
	must(t, teststore.Grant(t.Context(), s, grant, store.Code{Hash: model.Hash(code), ExpiresAt: now.Add(time.Minute)}))
	_, pair, err := s.RedeemCode(t.Context(), code, l.Client, teststore.Pair(now))
	must(t, err)
	for access, want := range map[string]string{pair.Access: grant.Ceiling, l.Pair.Access: ""} {
		got, err := s.Access(t.Context(), model.Hash(access))
		must(t, err)
		if got.Ceiling != want {
			t.Errorf("ceiling %q, want %q", got.Ceiling, want)
		}
	}
	before, err := s.Generation(t.Context(), 0)
	must(t, err)
	query(t, path, "UPDATE grants SET ceiling = '{}' RETURNING id")
	if after, err := s.Generation(t.Context(), 0); err != nil || after == before {
		t.Errorf("the generation stands at %d after the ceiling was changed, %v", after, err)
	}
}
