package relay

import (
	"encoding/json"
	"strings"
)

// Touched is what a child has turned to, in words without spaces, while a call was in
// flight.
type Touched struct {
	Sure  string `json:"sure,omitempty"`  // while no other was
	Maybe string `json:"maybe,omitempty"` // while others were, too: for any of them
}

// maxTouched bounds each list in bytes; there were more where the word + ends it.
const maxTouched = 240

const more = "+"

// add adds a word to a list; "" stands for words that are not known.
func add(list *string, word string) {
	switch {
	case *list == word && word != "" || strings.HasSuffix(*list, more):
		return
	case word == "" || len(*list)+len(word) > maxTouched:
		word = more
	case strings.Contains(" "+*list+" ", " "+word+" "):
		return
	}
	*list = strings.TrimPrefix(*list+" "+word, " ")
}

// Touch notes what the child has turned to. Which call that is for is known only where it
// works on no other, not even on one that has lost its slot.
func (r *Relay) Touch(word string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	working := 0
	for _, c := range r.calls {
		if c.sent && !c.standing {
			working++
		}
	}
	alone := working == 1 && len(r.abandoned) == 0 && !r.overflowed
	for _, c := range r.calls {
		switch {
		case !c.sent || c.standing:
		case alone:
			add(&c.touched.Sure, word)
		default:
			add(&c.touched.Maybe, word)
		}
	}
}

// Touched is what the child has turned to for the call, up to its answer.
func (c *Call) Touched() Touched {
	c.relay.mu.Lock()
	defer c.relay.mu.Unlock()
	return c.touched
}

// SetNote keeps something of the owner's with the call, which becomes JSON for State.
func (c *Call) SetNote(note any) {
	c.relay.mu.Lock()
	defer c.relay.mu.Unlock()
	c.note = note
}

// Note is what SetNote set, as JSON, of a call in State.
func (c *Call) Note() []byte {
	raw, _ := c.note.(json.RawMessage)
	return raw
}
