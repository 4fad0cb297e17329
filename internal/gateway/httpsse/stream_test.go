package httpsse

import (
	"strings"
	"testing"
)

func TestIDs(t *testing.T) {
	id := newStreamID()
	if !isStreamID(id) || newStreamID() == id {
		t.Fatalf("%s is no stream's id, or not the only one", id)
	}
	for _, event := range []string{"", "0-12"} {
		if s, e := cutEventID(eventID(id, event)); s != id || e != event {
			t.Errorf("event %q came back as %q of %q", event, e, s)
		}
	}
	for _, strange := range []string{"", "0-12", "-0-1", strings.ToLower(id), id + "A", id[1:], id[1:] + "/", sessionID(id)} {
		if s, _ := cutEventID(strange); s != "" {
			t.Errorf("%q names the stream %q", strange, s)
		}
	}
	if s := sessionID(id); !strings.HasPrefix(s, sessionPrefix) || strings.Contains(s, id) || s != sessionID(id) {
		t.Errorf("the session of %s is %s", id, s)
	}
}
