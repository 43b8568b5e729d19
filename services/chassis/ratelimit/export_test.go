package ratelimit

// Remembered is how many buckets are kept.
func (l *Limiter) Remembered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.full)
}
