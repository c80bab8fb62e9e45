package format

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// CommandLimit is the largest encoded command in bytes.
const CommandLimit = 8 << 20

// ErrCorrupt says that an entry of the log or a record of a snapshot cannot be what a coordinator of this version wrote.
var ErrCorrupt = errors.New("corrupt or unknown entry")

// ErrLevel says that an entry or a snapshot needs a higher feature level than this program knows: a newer version applies it.
var ErrLevel = errors.New("this program is too old for the cluster: start a newer version")

// Digest names the bytes of an entry: their SHA-256 in hexadecimal.
func Digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Decode reads a command. It fails with ErrLevel when it needs a higher feature level than this program knows, and with
// ErrCorrupt when it is too large, torn, of an unknown kind, or has fields that this version does not know: another
// coordinator would act on them. One that is ignorable then loses its kind.
func Decode(data []byte) (*tandemv1.Command, error) {
	if len(data) > CommandLimit {
		return nil, fmt.Errorf("%w: a command of %d bytes, the limit is %d", ErrCorrupt, len(data), CommandLimit)
	}
	cmd := &tandemv1.Command{}
	if err := proto.Unmarshal(data, cmd); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if cmd.GetTime() == nil || !cmd.GetTime().IsValid() {
		return nil, fmt.Errorf("%w: a command without a time", ErrCorrupt)
	}
	what := schema.UnknownField(cmd)
	switch {
	case cmd.GetIgnorable() && (what != "" || int(cmd.GetLevel()) > schema.Known):
		return &tandemv1.Command{Time: cmd.GetTime(), Actor: cmd.GetActor(), Ignorable: true}, nil
	case int(cmd.GetLevel()) > schema.Known:
		return nil, fmt.Errorf("%w: it knows feature level %d, and a command needs %d", ErrLevel, schema.Known, cmd.GetLevel())
	case what != "":
		return nil, fmt.Errorf("%w: unknown %s", ErrCorrupt, what)
	}
	if cmd.GetCommand() == nil && !cmd.GetIgnorable() {
		return nil, fmt.Errorf("%w: a command of no kind", ErrCorrupt)
	}
	return cmd, nil
}
