package forgeproxy

import (
	"net/http"
	"sync"
)

// Contact says how the forge answered, to tell why a backend ended.
type Contact struct {
	Answered bool  // there was an answer
	Served   bool  // one of them neither refused the token nor was a server error
	Status   int   // of the last answer up to the first that served; 0 for none
	Err      error // of the last failed attempt before the first answer; may have a Reason() control.Reason
}

// record is a Contact that grows.
type record struct {
	mu sync.Mutex
	c  Contact
}

func (r *record) get() Contact {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.c
}

func (r *record) failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.c.Answered {
		r.c.Err = err
	}
}

func (r *record) answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.c.Answered = true
	if r.c.Served {
		return
	}
	r.c.Status = status
	r.c.Served = status < 500 && status != http.StatusUnauthorized && status != http.StatusForbidden
}
