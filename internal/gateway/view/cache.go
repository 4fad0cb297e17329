package view

import (
	"bytes"
	"container/list"
	"encoding/json"
	"hash/maphash"
	"sync"
)

// maxHeld bounds, in bytes, the lists that a Cache holds: what forgejo-mcp lists, and some
// fifty ways to see it.
const maxHeld = 4 << 20

// Cache makes each list once for all sessions that see the same of it. All backends list
// mostly the same, and a session that waits holds nothing.
type Cache struct {
	seed maphash.Seed

	mu    sync.Mutex
	held  int
	by    map[sourceKey]*list.Element // of *source
	order *list.List                  // the longest unused first
}

// sourceKey finds a source. Backends choose what is hashed and must not see the hash.
type sourceKey struct {
	method string
	sum    uint64
}

// source is a result as a backend gave it, and what was made of it.
type source struct {
	key    sourceKey
	result json.RawMessage
	made   map[string]json.RawMessage // by Filter.sight
}

// NewCache returns an empty Cache.
func NewCache() *Cache {
	return &Cache{seed: maphash.MakeSeed(), by: map[sourceKey]*list.Element{}, order: list.New()}
}

// List returns what f shows of a result of one of the methods that Lists names. Both are
// kept and must not be changed.
func (c *Cache) List(method string, f *Filter, result json.RawMessage) json.RawMessage {
	key, sight := sourceKey{method, maphash.Bytes(c.seed, result)}, f.sight()
	if made := c.find(key, sight, result); made != nil {
		return made
	}
	made := listings[method].apply(f, result)
	c.keep(key, sight, result, made)
	return made
}

func (c *Cache) find(key sourceKey, sight string, result json.RawMessage) json.RawMessage {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.by[key]
	if at == nil {
		return nil
	}
	s := at.Value.(*source)
	if !bytes.Equal(s.result, result) {
		return nil
	}
	c.order.MoveToBack(at)
	return s.made[sight]
}

// keep keeps what was made. What is too long to be kept with others is made each time.
func (c *Cache) keep(key sourceKey, sight string, result, made json.RawMessage) {
	if len(result)+len(made) > maxHeld/4 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.by[key]
	if at == nil {
		at = c.order.PushBack(&source{key, result, map[string]json.RawMessage{}})
		c.by[key] = at
		c.held += len(result)
	}
	s := at.Value.(*source)
	if s.made[sight] != nil || !bytes.Equal(s.result, result) {
		return
	}
	s.made[sight] = made
	c.held += len(made)
	for c.held > maxHeld {
		c.dropLocked(c.order.Front())
	}
}

// dropLocked drops any of the lists made of a source, and with the last the source.
func (c *Cache) dropLocked(at *list.Element) {
	s := at.Value.(*source)
	for sight, made := range s.made {
		delete(s.made, sight)
		c.held -= len(made)
		break
	}
	if len(s.made) == 0 {
		c.order.Remove(at)
		delete(c.by, s.key)
		c.held -= len(s.result)
	}
}
