package policy

import (
	"reflect"
	"testing"
)

func TestCompare(t *testing.T) {
	parse := func(text string) *Document {
		doc, err := Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return doc
	}
	const a, b = "[[grant]]\nname=\"a\"\neveryone=true\naccess=\"read\"\n", "[[deny]]\nname=\"b\"\nusers=[\"bob\", \"carol\"]\n"
	was := parse(a + b)
	for text, want := range map[string]Changes{
		a + b:                 {},
		"# moved\n\n" + b + a: {},
		a:                     {Removed: []string{"b"}},
		"[[grant]]\nname=\"a\"\neveryone=true\naccess=\"write\"\n" + b + "[[deny]]\nname=\"c\"\nusers=[\"dave\"]\n": {Added: []string{"c"}, Changed: []string{"a"}},
		a + "[[deny]]\nname=\"b\"\nusers=[\"bob#8\", \"carol\"]\n":                                                  {Changed: []string{"b"}},
	} {
		is := parse(text)
		if got := is.Compare(was); !reflect.DeepEqual(got, want) || got.None() != (is.Digest() == was.Digest()) {
			t.Errorf("%q: got %+v, digests %s and %s", text, got, is.Digest(), was.Digest())
		}
	}
	var none *Document
	if got := was.Compare(none); !reflect.DeepEqual(got, Changes{Added: []string{"a", "b"}}) || none.Digest() != "" || len(was.Digest()) != 16 {
		t.Errorf("from nothing: %+v", got)
	}
	if got := none.Compare(was); !reflect.DeepEqual(got, Changes{Removed: []string{"a", "b"}}) {
		t.Errorf("to nothing: %+v", got)
	}
}
