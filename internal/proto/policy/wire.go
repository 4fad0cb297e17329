package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// MaxWire bounds the JSON of Limits in bytes: those of a login and those of today, and while
// they change once more.
const MaxWire = 2*MaxBytes + 1<<10

// Nothing allows nothing.
var Nothing = Limits{{}}

// JSON is what ParseLimits takes.
func (l Limits) JSON() []byte {
	if len(l) == 0 {
		return []byte("[]")
	}
	text, err := json.Marshal(l)
	if err != nil {
		panic("policy: " + err.Error()) // strings and booleans
	}
	return text
}

// ParseLimits reads Limits as JSON gives them. It is strict, since what it does not know may
// be what takes rights away: an error, upon which nothing must be allowed.
func ParseLimits(text []byte) (Limits, error) {
	if len(text) > MaxWire {
		return nil, fmt.Errorf("the limits take %d bytes of at most %d", len(text), MaxWire)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var l Limits
	if err := d.Decode(&l); err != nil {
		return nil, fmt.Errorf("cannot read the limits: %w", err)
	}
	if l == nil {
		return nil, errors.New("the limits are null")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something stands after the limits")
	}
	return l, nil
}

// Placed reports whether it depends on repositories or owners what is allowed.
func (l Limits) Placed() bool {
	for _, r := range l {
		for _, covers := range [][]Cover{r.Grants, r.Denials} {
			for i := range covers {
				if !covers[i].allRepositories() {
					return true
				}
			}
		}
	}
	return false
}
