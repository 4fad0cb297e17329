package unit

import (
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/session/relay"
)

func TestRefusalsAreAttributed(t *testing.T) {
	const (
		good   = `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"done"}]}}`
		bad    = `{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"HTTP 403"}}`
		failed = `{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":true}}`
		withID = `{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"fjmcp R1: read-only"}}`
	)
	a, b, c := new(relay.Call), new(relay.Call), new(relay.Call)
	type answer struct {
		call *relay.Call
		raw  string
		want control.Reason
	}
	refused := func(id string, calls ...*relay.Call) refusal {
		return refusal{id: id, Refusal: Refusal{Reason: control.ReasonReadOnly}, calls: calls, alone: len(calls) == 1}
	}
	const ro = control.ReasonReadOnly
	for _, tt := range []struct {
		name     string
		refusals []refusal
		answers  []answer
		left     int
	}{
		{"none", nil, []answer{{a, bad, ""}}, 0},
		{"alone, taken for success", []refusal{refused("R1", a)}, []answer{{a, good, ro}}, 0},
		{"several in one call", []refusal{refused("R1", a), refused("R2", a)}, []answer{{a, withID, ro}}, 0},
		{"began later", []refusal{refused("R1", a)}, []answer{{b, bad, ""}, {a, bad, ro}}, 0},
		{"the id decides", []refusal{refused("R2", a, b), refused("R1", a, b)}, []answer{{b, withID, ro}, {a, bad, ro}}, 0},
		{"hidden, beside a success", []refusal{refused("R1", a, b)}, []answer{{b, good, ""}, {a, failed, ro}}, 0},
		{"hidden, all refused", []refusal{refused("R1", a, b, c), refused("R2", a, b, c), refused("R3", a, b, c)},
			[]answer{{c, bad, ro}, {a, failed, ro}, {b, bad, ro}}, 0},
		{"another's id", []refusal{refused("R1", a)}, []answer{{b, withID, ""}}, 1},
		{"whose client has left", []refusal{refused("R1", a, b)}, []answer{{b, good, ""}}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rs := refusals{all: tt.refusals}
			for i, x := range tt.answers {
				if got := rs.attribute(x.call, []byte(x.raw)); got.Reason != x.want {
					t.Errorf("answer %d: got %q, want %q", i, got.Reason, x.want)
				}
			}
			if len(rs.all) != tt.left {
				t.Errorf("%d refusals left, want %d", len(rs.all), tt.left)
			}
		})
	}
}
