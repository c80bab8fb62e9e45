package client

import (
	"context"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"tandem.dev/proto/say"
)

// speaker makes the text of events and reasons once more, with the commands of the CLI as advice, of their codes and arguments. A
// coordinator of the time before codes sends texts only, which stay.
type speaker struct{}

// WrapUnary implements connect.Interceptor.
func (speaker) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		res, err := next(ctx, req)
		if err != nil {
			return res, say.Advised(err, say.CLI)
		}
		speak(res.Any())
		return res, nil
	}
}

// WrapStreamingClient implements connect.Interceptor.
func (speaker) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		return listening{next(ctx, spec)}
	}
}

// WrapStreamingHandler implements connect.Interceptor.
func (speaker) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

// listening is a stream whose answers have the text for users of the command line.
type listening struct{ connect.StreamingClientConn }

// Receive implements connect.StreamingClientConn.
func (l listening) Receive(answer any) error {
	if err := l.StreamingClientConn.Receive(answer); err != nil {
		return say.Advised(err, say.CLI)
	}
	speak(answer)
	return nil
}

func speak(answer any) {
	if m, ok := answer.(proto.Message); ok {
		say.Fill(m, say.CLI, nil)
	}
}
