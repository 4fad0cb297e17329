package session

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Who is let in counts until it leaves; nobody is let in once the door is shut.
func TestDoor(t *testing.T) {
	clock := time.Now()
	d := door{now: func() time.Time { return clock }}
	leave, err := d.enter()
	if err != nil {
		t.Fatal(err)
	}
	shut, first := clock, d.ShutDoor()
	clock = clock.Add(time.Hour)
	if again := d.ShutDoor(); !first || again {
		t.Error("it was shut twice, or not at all")
	}
	if since, inside := d.Door(); !since.Equal(shut) || inside != 1 {
		t.Errorf("shut since %v, %d inside", since, inside)
	}
	if _, err := d.enter(); !errors.Is(err, ErrDraining) {
		t.Errorf("the shut door said %v", err)
	}
	leave()
	if _, inside := d.Door(); inside != 0 {
		t.Errorf("%d inside after all have left", inside)
	}
	if !d.OpenDoor() || d.OpenDoor() {
		t.Error("it was opened twice, or not at all")
	}
	if leave, err = d.enter(); err != nil {
		t.Fatal(err)
	}
	leave()
}

// When the shut door has nobody inside, all who were let in have done what they
// came for: the order on which Drain relies.
func TestDoorMissesNobody(t *testing.T) {
	for range 200 {
		d := door{now: time.Now}
		var admitted, done atomic.Int32
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range 50 {
					leave, err := d.enter()
					if err != nil {
						return
					}
					admitted.Add(1)
					done.Add(1)
					leave()
				}
			})
		}
		d.ShutDoor()
		for {
			if _, inside := d.Door(); inside == 0 {
				break
			}
		}
		if a, b := done.Load(), admitted.Load(); a != b {
			t.Fatalf("%d of %d were done", a, b)
		}
		before := admitted.Load()
		all.Wait()
		if admitted.Load() != before {
			t.Fatal("somebody was let in after the door was shut")
		}
	}
}
