package api

import (
	"context"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"tandem.dev/proto/say"
)

// speaker puts the text of events and reasons into all that is answered: rows hold codes and arguments only.
type speaker struct{}

// WrapUnary implements connect.Interceptor.
func (speaker) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		res, err := next(ctx, req)
		if err == nil {
			speak(res.Any())
		}
		return res, err
	}
}

// WrapStreamingHandler implements connect.Interceptor.
func (speaker) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		return next(ctx, speaking{conn})
	}
}

// WrapStreamingClient implements connect.Interceptor.
func (speaker) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// speaking is a stream whose answers have their text.
type speaking struct{ connect.StreamingHandlerConn }

// Send implements connect.StreamingHandlerConn.
func (s speaking) Send(answer any) error {
	speak(answer)
	return s.StreamingHandlerConn.Send(answer)
}

func speak(answer any) {
	if m, ok := answer.(proto.Message); ok {
		say.Fill(m, say.Plain, nil)
	}
}
