package crypt

import (
	"container/list"
	"sync"

	"github.com/tink-crypto/tink-go/v2/tink"
)

// cache remembers the most recently used opened data keys, by their wrapped form.
type cache struct {
	mu    sync.Mutex
	max   int
	order *list.List // of entry, most recent first
	byKey map[string]*list.Element
}

type entry struct {
	wrapped string
	key     tink.AEAD
}

func newCache(size int) *cache {
	return &cache{max: size, order: list.New(), byKey: make(map[string]*list.Element)}
}

func (c *cache) get(wrapped []byte) (tink.AEAD, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.byKey[string(wrapped)]
	if !ok {
		return nil, false
	}
	c.order.MoveToFront(el)
	return el.Value.(entry).key, true
}

func (c *cache) put(wrapped []byte, key tink.AEAD) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.byKey[string(wrapped)]; ok {
		c.order.MoveToFront(el)
		return
	}
	c.byKey[string(wrapped)] = c.order.PushFront(entry{string(wrapped), key})
	for len(c.byKey) > c.max {
		c.remove(c.order.Back())
	}
}

func (c *cache) drop(wrapped []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.byKey[string(wrapped)]; ok {
		c.remove(el)
	}
}

func (c *cache) remove(el *list.Element) {
	delete(c.byKey, el.Value.(entry).wrapped)
	c.order.Remove(el)
}
