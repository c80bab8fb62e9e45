package rest

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"connectrpc.com/connect"
	"connectrpc.com/vanguard"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"tandem.dev/proto/plain"
	"tandem.dev/proto/schema"
)

// strictJSON is the JSON of procedures (/tandem.v1.*): that of protobuf, which generated clients read. It refuses keys that are not in the
// schema: a slip in a spec must not go unseen.
type strictJSON struct{ *vanguard.JSONCodec }

// plainJSON is the JSON of REST (/v1/*): that of package plain. It takes that of protobuf too.
type plainJSON struct{ strictJSON }

var (
	_ vanguard.RESTCodec = strictJSON{}
	_ vanguard.RESTCodec = plainJSON{}
)

// NewStrictJSON is the codec of procedures.
func NewStrictJSON(types vanguard.TypeResolver) vanguard.Codec { return strict(types) }

// NewPlainJSON is the codec of REST.
func NewPlainJSON(types vanguard.TypeResolver) vanguard.Codec { return plainJSON{strict(types)} }

func strict(types vanguard.TypeResolver) strictJSON {
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

// MarshalAppend implements vanguard.Codec. What the transcoder writes for an error gets the form that errors have everywhere else.
func (plainJSON) MarshalAppend(base []byte, m proto.Message) ([]byte, error) {
	if s, ok := m.(*status.Status); ok {
		b, err := ErrorJSON(connect.Code(s.GetCode()), s.GetMessage(), s.GetDetails()) //nolint:gosec // one of seventeen
		return append(base, b...), err
	}
	b, err := plain.Marshal(m)
	return append(base, b...), err
}

// MarshalAppendStable implements vanguard.StableCodec.
func (c plainJSON) MarshalAppendStable(base []byte, m proto.Message) ([]byte, error) {
	return c.MarshalAppend(base, m)
}

// MarshalAppendField implements vanguard.RESTCodec.
func (plainJSON) MarshalAppendField(base []byte, m proto.Message, f protoreflect.FieldDescriptor) ([]byte, error) {
	b, err := plain.MarshalField(m, f)
	return append(base, b...), err
}

// Unmarshal implements vanguard.Codec.
func (plainJSON) Unmarshal(b []byte, m proto.Message) error { return unreadable(plain.Unmarshal(b, m)) }

func unreadable(err error) error {
	if err == nil {
		return nil
	}
	return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("read the request: %w", err))
}

// ByPath serves procedures and REST, whose JSON differs.
func ByPath(procedures, rest http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, ProcedurePrefix) {
			procedures.ServeHTTP(w, r)
			return
		}
		rest.ServeHTTP(w, r)
	})
}

// Query is what stands behind the path of a REST request: words of enums get their full names, which the transcoder wants, and a
// parameter that is not a field of the procedure's request is refused. The transcoder does that too, as if it were a fault of ours.
func Query(procedure string, u *url.URL) (string, error) {
	m := schema.Method(procedure)
	if m == nil || u.RawQuery == "" {
		return u.RawQuery, nil
	}
	given := u.Query()
	for name, values := range given {
		f, err := parameter(m.Input(), name)
		if err != nil {
			return u.RawQuery, err
		}
		if f.Enum() == nil {
			continue
		}
		for i, word := range values {
			if n, ok := plain.Number(f.Enum(), word); ok {
				values[i] = string(f.Enum().Values().ByNumber(n).Name())
			} else if _, err := strconv.ParseInt(word, 10, 32); err != nil { // a number stands for itself
				return u.RawQuery, invalid(fmt.Sprintf("parameter %q: %q is not known: use %s", name, word, strings.Join(plain.Words(f.Enum()), ", ")))
			}
		}
	}
	return given.Encode(), nil
}

// parameter is the field that a parameter names.
func parameter(at protoreflect.MessageDescriptor, name string) (f protoreflect.FieldDescriptor, err error) {
	for part := range strings.SplitSeq(name, ".") {
		if at == nil {
			return nil, invalid(fmt.Sprintf("unknown parameter %q", name))
		}
		if f = at.Fields().ByName(protoreflect.Name(part)); f == nil {
			f = at.Fields().ByJSONName(part)
		}
		if f == nil {
			return nil, invalid(fmt.Sprintf("unknown parameter %q: %s has no field %q", name, at.Name(), part))
		}
		at = f.Message()
	}
	return f, nil
}

func invalid(message string) error {
	return connect.NewError(connect.CodeInvalidArgument, errors.New(message))
}
