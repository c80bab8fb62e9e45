package main

import (
	"context"
	"io"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/cmd/tandem/client"
)

// watchPatience is how long something is followed with nobody answering.
const watchPatience = time.Minute

// streamed is how a stream of the API is followed.
type streamed[T any] struct {
	// open opens the stream anew; it begins with the state as it is, or with the first line.
	open func(context.Context) (*connect.ServerStreamForClient[T], error)
	// take gets what arrives; the watch ends when it is done or fails.
	take func(*T) (done bool, err error)
	// lost is told when nobody answers any more, and when somebody does again; nil: nobody wants to know.
	lost func(lost bool)
	// ends says that the server's end of the stream is the end, not a loss.
	ends bool
}

// watch follows a stream to its end, across the loss of coordinators. It gives up when nothing was heard for long: sooner
// when nothing ever was.
func watch[T any](ctx context.Context, c *client.Client, w streamed[T]) error {
	heard, ever, lost := time.Now(), false, false
	for {
		turn := c.Turn()
		stream, err := w.open(ctx)
		if err == nil {
			for stream.Receive() {
				heard, ever = time.Now(), true
				if lost && w.lost != nil {
					w.lost(false)
				}
				lost = false
				if done, err := w.take(stream.Msg()); done || err != nil {
					_ = stream.Close() // what it would say does not matter any more
					return err
				}
			}
			err = stream.Err()
			_ = stream.Close()
			if err == nil && w.ends {
				return nil
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			err = connect.NewError(connect.CodeUnavailable, io.ErrUnexpectedEOF)
		}
		if definite(err) {
			return c.Explain(err)
		}
		limit := watchPatience
		if !ever {
			limit = c.Patience.With(err)
		}
		if time.Since(heard) > limit {
			return c.Explain(connect.NewError(connect.CodeUnavailable, err))
		}
		if ever && !lost && w.lost != nil {
			w.lost(true)
		}
		lost = ever
		c.Rotate(turn)
		if err := client.Sleep(ctx, c.Patience.Pause); err != nil {
			return err
		}
	}
}

// definite errors are the same at any coordinator and at any time.
func definite(err error) bool {
	switch connect.CodeOf(err) {
	case connect.CodeNotFound, connect.CodeInvalidArgument, connect.CodeUnauthenticated, connect.CodePermissionDenied,
		connect.CodeFailedPrecondition, connect.CodeUnimplemented:
		return true
	case connect.CodeUnavailable:
		return !client.Lost(err)
	}
	return false
}
