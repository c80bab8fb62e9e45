package rest

import (
	"context"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"tandem.dev/proto/limit"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// Sizes refuses messages with a string, a list or a map that holds more than its field declares. Those of other coordinators pass:
// a plan of the scheduler is as long as it has to be, and who has a coordinator's key needs no long strings to do harm.
type Sizes struct{}

func (Sizes) check(procedure string, message any) error {
	m, ok := message.(proto.Message)
	if !ok || strings.HasPrefix(procedure, "/"+tandemv1connect.PeerServiceName+"/") {
		return nil
	}
	return limit.Check(m)
}

// WrapUnary implements connect.Interceptor.
func (s Sizes) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		if err := s.check(req.Spec().Procedure, req.Any()); err != nil {
			return nil, err
		}
		return next(ctx, req)
	}
}

// WrapStreamingHandler implements connect.Interceptor.
func (s Sizes) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		return next(ctx, sizedConn{conn, s})
	}
}

// WrapStreamingClient implements connect.Interceptor.
func (Sizes) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

type sizedConn struct {
	connect.StreamingHandlerConn
	sizes Sizes
}

// Receive implements connect.StreamingHandlerConn.
func (c sizedConn) Receive(m any) error {
	if err := c.StreamingHandlerConn.Receive(m); err != nil {
		return err
	}
	if err := c.sizes.check(c.Spec().Procedure, m); err != nil {
		return connect.NewError(connect.CodeInvalidArgument, err)
	}
	return nil
}
