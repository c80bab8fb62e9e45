package schema

import (
	"context"
	"fmt"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Unknown says what m holds that this program's schema lacks, a field or a value of an enum, such as "field 9999 of JobSpec in
// spec"; empty when there is nothing. A field that is dropped in silence would be acted on by whoever knows it.
func Unknown(m proto.Message) string { return walker{enums: true}.find(m) }

// UnknownField is Unknown for fields alone.
func UnknownField(m proto.Message) string { return walker{}.find(m) }

type walker struct{ enums bool }

func (w walker) find(m proto.Message) string {
	what, where := w.unknown(m.ProtoReflect())
	if what == "" || where == "" {
		return what
	}
	return what + " in " + where
}

// unknown returns what is unknown and the path to the message or field it is in.
func (w walker) unknown(m protoreflect.Message) (what, where string) {
	if raw := m.GetUnknown(); len(raw) > 0 {
		number, _, _ := protowire.ConsumeTag(raw)
		return fmt.Sprintf("field %d of %s", number, m.Descriptor().Name()), ""
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if named(f.FullName()) > Known {
			what = fmt.Sprintf("field %d of %s", f.Number(), m.Descriptor().Name())
			return false
		}
		each(f, v, func(of protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			what, where = w.value(of, v)
			return what == ""
		})
		if what != "" && where != "" {
			where = "." + where
		}
		if what != "" {
			where = string(f.Name()) + where
		}
		return what == ""
	})
	return what, where
}

func (w walker) value(f protoreflect.FieldDescriptor, v protoreflect.Value) (what, where string) {
	switch {
	case f.Message() != nil:
		return w.unknown(v.Message())
	case w.enums && f.Enum() != nil:
		if value := f.Enum().Values().ByNumber(v.Enum()); value == nil || named(value.FullName()) > Known {
			return fmt.Sprintf("value %d of %s", v.Enum(), f.Enum().Name()), ""
		}
	}
	return "", ""
}

// Strict returns an interceptor that refuses requests with anything unknown in them, in messages of streams too. Clients
// see INVALID_ARGUMENT and what it is. JSON has its own strictness: what it does not know never becomes a message.
func Strict() connect.Interceptor { return strict{} }

type strict struct{}

func refuseUnknown(m any) error {
	msg, ok := m.(proto.Message)
	if !ok {
		return nil
	}
	if what := Unknown(msg); what != "" {
		return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("read the request: unknown %s; if the client is of a newer version than this program, upgrade this program or use the client of its version", what))
	}
	return nil
}

// WrapUnary implements connect.Interceptor.
func (strict) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		if !req.Spec().IsClient {
			if err := refuseUnknown(req.Any()); err != nil {
				return nil, err
			}
		}
		return next(ctx, req)
	}
}

// WrapStreamingHandler implements connect.Interceptor.
func (strict) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error { return next(ctx, strictConn{conn}) }
}

// WrapStreamingClient implements connect.Interceptor.
func (strict) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

type strictConn struct{ connect.StreamingHandlerConn }

// Receive implements connect.StreamingHandlerConn.
func (c strictConn) Receive(m any) error {
	if err := c.StreamingHandlerConn.Receive(m); err != nil {
		return err
	}
	return refuseUnknown(m)
}
