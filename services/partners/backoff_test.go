package partners

import (
	"testing"
	"time"
)

// The wait doubles with each failure up to an hour, and is shortened by a fifth at most, by chance.
func TestBackoff(t *testing.T) {
	t.Parallel()
	for failures, whole := range map[int32]time.Duration{
		0: 5 * time.Second, 1: 5 * time.Second, 2: 10 * time.Second, 3: 20 * time.Second, 5: 80 * time.Second, 9: 1280 * time.Second, 10: 2560 * time.Second,
		11: time.Hour, 12: time.Hour, 63: time.Hour, 1 << 30: time.Hour,
	} {
		waits := map[time.Duration]bool{}
		for range 1000 {
			wait := backoff(failures)
			if wait > whole || wait <= whole*4/5 {
				t.Errorf("after %d failures it waits %v, want more than %v and %v at most", failures, wait, whole*4/5, whole)
			}
			waits[wait] = true
		}
		if len(waits) < 100 {
			t.Errorf("after %d failures all wait alike: %v", failures, waits)
		}
	}
}
