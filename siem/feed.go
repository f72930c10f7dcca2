package siem

import (
	"context"
	"math"

	"vft/spool"
)

// all is no limit of what is taken at once but that of the spool.
const all = math.MaxInt

// feed carries records to a transport that knows at once what became of them:
// write gets at most so many and returns how many it delivered. It ends like
// transport.session.
func feed(ctx context.Context, stop <-chan struct{}, log spool.Log, most int, write func(spool.Batch) (int, error)) error {
	log.Rewind()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := log.Take(most, all)
		if b.Len() == 0 {
			if stop == nil {
				return nil
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-log.Changed():
			case <-stop:
				stop = nil
			}
			continue
		}
		n, err := write(b)
		done, rest := b.Before(n), b.After(n) // what is settled must not be read any more
		log.Ack(done)
		log.Nack(rest)
		if err != nil {
			return err
		}
	}
}
