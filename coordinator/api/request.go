package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"google.golang.org/protobuf/proto"

	"tandem.dev/coordinator/id"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// request is what a client asks to be changed. It may be repeated with the same request id.
type request interface {
	proto.Message
	GetRequestId() string
}

// name gives a command the key under which its result is remembered, and the sum of what was asked. Clients choose their request ids
// without knowing of each other, so that who asks, and in which project, is a part of the key. A request that is nil cannot be repeated.
func name(ctx context.Context, cmd *tandemv1.Command, r request) (err error) {
	if r == nil || r.GetRequestId() == "" {
		cmd.RequestId = id.New("req")
		return nil
	}
	cmd.RequestId = From(ctx).Name + "/" + r.GetRequestId()
	if project := From(ctx).Project; project != state.DefaultProject { // the same request in another project is another one
		cmd.RequestId = project + "/" + cmd.GetRequestId()
	}
	cmd.RequestSha256, err = requestSum(r)
	return err
}

// doneBefore says whether a request was carried out before: what it names is gone then.
func doneBefore(ctx context.Context, v *state.View, r request) bool {
	cmd := &tandemv1.Command{}
	if err := name(ctx, cmd, r); err != nil {
		return false
	}
	before, ok := v.Request(cmd.GetRequestId())
	return ok && cmd.GetRequestSha256() != "" && before.GetRequestSha256() == cmd.GetRequestSha256() && before.GetResult().GetRefusal() == 0
}

// requestSum is the SHA-256 of what a request asks for, in hexadecimal.
func requestSum(r request) (string, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(schema.Content(r))
	if err != nil {
		return "", fmt.Errorf("encode the request: %w", err)
	}
	sum := sha256.Sum256(append([]byte(r.ProtoReflect().Descriptor().FullName()), b...))
	return hex.EncodeToString(sum[:]), nil
}
