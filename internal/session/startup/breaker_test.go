package startup

import (
	"testing"
	"time"
)

func TestCircuit(t *testing.T) {
	type death struct{ at, lived, wait time.Duration }
	const s, min = time.Second, time.Minute
	for name, deaths := range map[string][]death{
		"now and then":        {{0, s, 0}, {50 * s, s, 0}, {70 * s, s, 0}, {130 * s, s, 0}},
		"three in a minute":   {{0, s, 0}, {20 * s, s, 0}, {59 * s, s, 10 * s}},
		"again and again":     {{0, s, 0}, {1 * s, s, 0}, {2 * s, s, 10 * s}, {13 * s, s, 20 * s}, {1 * min, s, 40 * s}, {2 * min, s, 80 * s}, {4 * min, s, 160 * s}, {7 * min, s, 5 * min}, {13 * min, s, 5 * min}},
		"it works in between": {{0, s, 0}, {1 * s, s, 0}, {2 * s, s, 10 * s}, {90 * s, min, 0}, {91 * s, s, 0}, {92 * s, s, 10 * s}},
		"long ago":            {{0, s, 0}, {1 * s, s, 0}, {2 * s, s, 10 * s}, {5*min + 12*s, s, 0}},
		"not so long ago":     {{0, s, 0}, {1 * s, s, 0}, {2 * s, s, 10 * s}, {5*min + 11*s, s, 20 * s}},
	} {
		t.Run(name, func(t *testing.T) {
			var c Breaker
			begin := time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)
			for i, d := range deaths {
				now := begin.Add(d.at)
				if left := c.Left(now); left != 0 {
					t.Fatalf("death %d: the circuit is open for another %v", i, left)
				}
				if got := c.Died(now, now.Add(-d.lived)); got != d.wait || c.Left(now) != d.wait {
					t.Errorf("death %d: opened for %v, %v left, want %v", i, got, c.Left(now), d.wait)
				}
			}
		})
	}
}
