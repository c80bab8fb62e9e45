package agent

import (
	"time"

	"github.com/rs/zerolog"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/proto/identity"
)

// clock compares the machine's clock with those of the coordinators, who say in each message of a session what theirs say.
type clock struct {
	tell func() // has a message sent to a coordinator, which compares the clocks by it and tells the cluster
	log  zerolog.Logger

	skew identity.Skew // of the coordinator
	said time.Duration // what of it stands in the log
}

// see takes what a coordinator's clock said, when this machine's said now, and has the coordinator told what this one's says.
func (c *clock) see(there *timestamppb.Timestamp, now time.Time) {
	if there == nil { // a coordinator of the release before
		return
	}
	c.tell()
	c.skew.See(there.AsTime().Sub(now), now)
	if !identity.SkewIsNews(c.said, c.skew.Offset) {
		return
	}
	c.said = c.skew.Offset
	if c.said == 0 {
		c.log.Info().Msg("the clocks of this machine and of the coordinator agree again")
		return
	}
	c.log.Warn().Time("here", now).Time("coordinator", there.AsTime()).Stringer("coordinator_ahead_by", c.said.Round(time.Second)).
		Msg("the clocks of this machine and of the coordinator differ: set the one that is wrong, for example with NTP")
}
