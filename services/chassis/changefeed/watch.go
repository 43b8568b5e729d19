package changefeed

import (
	"context"
	"time"
)

// heartbeat is the time between signs of life of a watch.
const heartbeat = 15 * time.Second

// Watch sends what next finds in a feed, with the token of where that ends, whenever p says that the feed has moved. An empty page
// goes first, and after each 15 s without a change: signs that the watch lives. It returns when ctx ends or a function fails.
func Watch[T any](ctx context.Context, p *Pulse, next func(context.Context) (page []T, more bool, err error), token func() (string, error), send func(page []T, token string) error) error {
	defer p.Join(ctx)()
	alive := time.NewTicker(heartbeat)
	defer alive.Stop()
	for sign := true; ; {
		moved := p.Next() // before the look, so that nothing falls between the two
		page, more, err := next(ctx)
		if err != nil {
			return err
		}
		if len(page) > 0 || sign {
			at, err := token()
			if err != nil {
				return err
			}
			if err := send(page, at); err != nil {
				return err
			}
			alive.Reset(heartbeat)
		}
		sign = false
		if more {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-moved:
		case <-alive.C:
			sign = true
		}
	}
}
