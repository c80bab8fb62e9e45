package schema

import (
	"fmt"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
)

// Within returns m, or a copy of it without what is above a feature level.
func Within[M proto.Message](m M, level int) M {
	if Level(m) <= level {
		return m
	}
	m = proto.Clone(m).(M)
	trim(m.ProtoReflect(), level)
	return m
}

// Speak returns the option of a client whose requests are within a feature level: what an agent knows and the cluster does not is
// left out, where it would be refused.
func Speak(level func() int) connect.ClientOption { return connect.WithCodec(codec{level}) }

// codec is the binary form of protobuf, as connect has it, within a level.
type codec struct{ level func() int }

// Name implements connect.Codec.
func (codec) Name() string { return "proto" }

// Marshal implements connect.Codec.
func (c codec) Marshal(m any) ([]byte, error) {
	msg, ok := m.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("encode a %T: it is not a message", m)
	}
	return proto.Marshal(Within(msg, c.level()))
}

// Unmarshal implements connect.Codec.
func (codec) Unmarshal(b []byte, m any) error {
	msg, ok := m.(proto.Message)
	if !ok {
		return fmt.Errorf("decode a %T: it is not a message", m)
	}
	return proto.Unmarshal(b, msg)
}
