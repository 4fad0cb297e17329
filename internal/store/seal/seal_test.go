package seal

import (
	"bytes"
	"errors"
	"testing"
)

func key(b byte) []byte { return bytes.Repeat([]byte{b}, KeySize) }

func ring(t *testing.T, k []byte, older ...[]byte) *Keyring {
	t.Helper()
	r, err := NewKeyring(k, older...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestKeySize(t *testing.T) {
	for _, n := range []int{0, 16, 31, 33} {
		if _, err := NewKeyring(make([]byte, n)); err == nil {
			t.Errorf("a key of %d bytes was accepted", n)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	r := ring(t, key(1))
	for _, plain := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte("long"), 1000)} {
		sealed := r.Seal(plain, []byte("row 1"))
		got, err := r.Open(sealed, []byte("row 1"))
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("got %q, %v", got, err)
		}
		if len(plain) > 3 && bytes.Contains(sealed, plain) {
			t.Error("the sealed form shows the plain text")
		}
	}
	if bytes.Equal(r.Seal([]byte("a"), nil), r.Seal([]byte("a"), nil)) {
		t.Error("two seals of one value are equal: the nonce repeats")
	}
}

func TestEveryBitIsBound(t *testing.T) {
	r := ring(t, key(1))
	sealed := r.Seal([]byte("secret"), []byte("row 1"))
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := r.Open(bad, []byte("row 1")); err == nil {
			t.Errorf("a change of byte %d went unnoticed", i)
		}
		if _, err := r.Open(sealed[:i], []byte("row 1")); err == nil {
			t.Errorf("a value cut to %d bytes was opened", i)
		}
	}
	if _, err := r.Open(sealed, []byte("row 2")); !errors.Is(err, ErrCorrupt) {
		t.Errorf("moved to another row: %v", err)
	}
}

func TestRotation(t *testing.T) {
	first := ring(t, key(1))
	sealed := first.Seal([]byte("secret"), []byte("row"))
	second := ring(t, key(2))
	if _, err := second.Open(sealed, []byte("row")); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("another key: %v", err)
	}
	both := ring(t, key(2), key(1))
	got, err := both.Open(sealed, []byte("row"))
	if err != nil || string(got) != "secret" {
		t.Errorf("older key: %q, %v", got, err)
	}
	if both.Current(sealed) || !both.Current(both.Seal(nil, nil)) {
		t.Error("Current does not tell the keys apart")
	}
}

func TestTags(t *testing.T) {
	first, both, second := ring(t, key(1)), ring(t, key(2), key(1)), ring(t, key(2))
	tag := first.Tag("purpose", "a", "b")
	if !bytes.Equal(tag, first.Tag("purpose", "ab")) || bytes.Equal(tag, both.Tag("purpose", "ab")) {
		t.Error("a tag depends on the current key and all parts alone")
	}
	for name, tc := range map[string]struct {
		ring    *Keyring
		tag     []byte
		purpose string
		part    string
		want    bool
	}{
		"same":            {first, tag, "purpose", "ab", true},
		"an older key's":  {both, tag, "purpose", "ab", true},
		"its beginning":   {first, tag[:16], "purpose", "ab", true},
		"another key's":   {second, tag, "purpose", "ab", false},
		"another purpose": {first, tag, "other", "ab", false},
		"another part":    {first, tag, "purpose", "ac", false},
		"too short":       {first, tag[:15], "purpose", "ab", false},
		"too long":        {first, append(bytes.Clone(tag), 0), "purpose", "ab", false},
		"altered":         {first, append([]byte{tag[0] ^ 1}, tag[1:]...), "purpose", "ab", false},
		"none":            {first, nil, "purpose", "ab", false},
	} {
		if got := tc.ring.Tagged(tc.tag, tc.purpose, tc.part); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
