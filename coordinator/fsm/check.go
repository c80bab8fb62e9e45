package fsm

import (
	"fmt"

	"tandem.dev/coordinator/format"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/schema"
)

// Check says why an encoded command must not be logged: an entry that cannot be applied ends every coordinator, again at each
// start. So it is decoded as Apply will decode it, it may hold nothing unknown, not even a value of an enum, and it is applied
// to a copy of the state that nobody sees. A refusal is not an error: it may be another one by the time the entry is applied.
func Check(s *state.State, data []byte) error {
	cmd, err := format.Decode(data)
	if err != nil {
		return err
	}
	if what := schema.Unknown(cmd); what != "" {
		return fmt.Errorf("%w: unknown %s", format.ErrCorrupt, what)
	}
	if cmd.GetQuarantine() != nil {
		return fmt.Errorf("%w: a quarantine is written by an operator on a coordinator that is stopped", format.ErrCorrupt)
	}
	tx := s.Rehearse()
	defer tx.Abort()
	_, err = applyEntry(tx, tx.Index()+1, data)
	return err
}
