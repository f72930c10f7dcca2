package siem

import "context"

// feed carries records to a transport that knows at once what became of them:
// write returns how many it delivered. It ends like transport.session.
func (q *queue) feed(ctx context.Context, stop <-chan struct{}, write func(batch) (int, error)) error {
	for next := q.head(); ; {
		b := q.from(next)
		if len(b.ends) == 0 {
			if stop == nil {
				return nil
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-q.wake:
			case <-stop:
				stop = nil
			}
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := write(b)
		q.release(next + uint64(n))
		if err != nil {
			return err
		}
		next = q.head()
	}
}
