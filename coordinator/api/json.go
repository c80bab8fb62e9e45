package api

import (
	"fmt"

	"connectrpc.com/connect"
	"connectrpc.com/vanguard"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// strictJSON is the JSON of requests and answers. It refuses keys that are not in the schema: a slip in a spec must not
// go unseen.
type strictJSON struct{ *vanguard.JSONCodec }

var _ vanguard.RESTCodec = strictJSON{}

func newStrictJSON(types vanguard.TypeResolver) vanguard.Codec {
	c := vanguard.NewJSONCodec(types)
	c.MarshalOptions.EmitUnpopulated = false
	c.UnmarshalOptions.DiscardUnknown = false
	return strictJSON{c}
}

// Unmarshal implements vanguard.Codec.
func (c strictJSON) Unmarshal(b []byte, m proto.Message) error {
	return unreadable(c.JSONCodec.Unmarshal(b, m))
}

// UnmarshalField implements vanguard.RESTCodec.
func (c strictJSON) UnmarshalField(b []byte, m proto.Message, f protoreflect.FieldDescriptor) error {
	return unreadable(c.JSONCodec.UnmarshalField(b, m, f))
}

func unreadable(err error) error {
	if err == nil {
		return nil
	}
	return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("read the request: %w", err))
}
