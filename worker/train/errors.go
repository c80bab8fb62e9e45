package train

import (
	"errors"
	"fmt"
	"time"
)

// ErrPeerLost: a collective failed because another rank is gone or hangs, or because the
// group was let go of. The state is as it was after the last step; another group can go on.
var ErrPeerLost = errors.New("another rank of the process group is gone")

// ErrHung: a collective took longer than its deadline. It comes with ErrPeerLost.
var ErrHung = errors.New("a rank hangs")

// hang is the error of a call that waited too long for another rank: ErrPeerLost and ErrHung, and what the call said when it was ended.
type hang struct {
	waited time.Duration
	ended  error
}

func (h hang) Error() string {
	return fmt.Sprintf("%v: no answer within %v", ErrHung, h.waited.Round(100*time.Millisecond))
}

func (h hang) Unwrap() []error { return []error{ErrPeerLost, ErrHung, h.ended} }

// ErrDiverged: the loss or a gradient is not a number any more. It is permanent.
var ErrDiverged = errors.New("training diverged")

// permanent marks an error that another attempt would meet again.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// Permanent marks err as one that another attempt would meet again, such as a fault of the
// spec or the data.
func Permanent(err error) error { return permanent{err} }

// IsPermanent tells whether err was marked by Permanent.
func IsPermanent(err error) bool {
	var p permanent
	return errors.As(err, &p)
}

func permanentf(format string, args ...any) error {
	return Permanent(fmt.Errorf(format, args...))
}
