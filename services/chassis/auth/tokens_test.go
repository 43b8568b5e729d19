package auth

import (
	"testing"
	"time"
)

func TestRememberedTokensAreBounded(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := newTokens(2)
	has := func(b byte) bool {
		_, ok := s.get([32]byte{b}, now)
		return ok
	}
	s.put([32]byte{1}, Principal{}, now.Add(time.Minute))
	s.put([32]byte{2}, Principal{}, now.Add(time.Minute))
	if !has(1) {
		t.Error("the first was forgotten too early")
	}
	s.put([32]byte{3}, Principal{}, now.Add(time.Minute))
	if !has(1) || has(2) || !has(3) || len(s.byKey) != 2 {
		t.Errorf("remembered: %v %v %v of %d; want the least recently used to go", has(1), has(2), has(3), len(s.byKey))
	}
}
