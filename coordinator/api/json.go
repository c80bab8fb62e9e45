package api

import (
	"fmt"
	"net/url"
	"strings"

	"connectrpc.com/connect"
	"connectrpc.com/vanguard"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"tandem.dev/proto/schema"
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

// unknownParameter refuses a REST request with a parameter in its URL that is no field of the procedure's request. The transcoder does
// so too, as if it were a fault of ours.
func unknownParameter(procedure string, query url.Values) error {
	m := schema.Method(procedure)
	if m == nil {
		return nil
	}
	for name := range query {
		at := m.Input()
		for part := range strings.SplitSeq(name, ".") {
			if at == nil {
				return invalid(fmt.Sprintf("unknown parameter %q", name))
			}
			f := at.Fields().ByName(protoreflect.Name(part))
			if f == nil {
				f = at.Fields().ByJSONName(part)
			}
			if f == nil {
				return invalid(fmt.Sprintf("unknown parameter %q: %s has no field %q", name, at.Name(), part))
			}
			at = f.Message()
		}
	}
	return nil
}
