package control_test

import "testing"

// BenchmarkWaiting is what each answer of a backend costs besides, where nothing was
// reported.
func BenchmarkWaiting(b *testing.B) {
	_, c := pair(b)
	for b.Loop() {
		if _, _, ok, err := c.Waiting(); ok || err != nil {
			b.Fatal(err)
		}
	}
}
