package coordinator

import (
	"context"
	"time"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// clocksPause is the time between two looks at what was heard of clocks.
const clocksPause = time.Second

// noteClocks tells the cluster of clocks that are off, and of those that are right again, until ctx ends.
func (c *Coordinator) noteClocks(ctx context.Context) error {
	self := c.creds.Identity.Node
	tick := time.NewTicker(clocksPause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := time.Now()
		for _, news := range c.clocks.News(c.state.View(), self, now) {
			if _, err := c.node.Propose(ctx, &tandemv1.Command{Actor: self, Command: &tandemv1.Command_ObserveClock{ObserveClock: news}}); err != nil {
				break // without a leader nobody can be told: the next look finds it again
			}
			offset := news.GetOffset().AsDuration().Round(time.Second)
			if offset == 0 {
				c.log.Info().Str("node", news.GetNodeId()).Msg("a clock that was off is right again")
				continue
			}
			c.log.Warn().Str("node", news.GetNodeId()).Stringer("ahead_by", offset).Time("here", now).Time("there", now.Add(news.GetOffset().AsDuration())).
				Msg("clocks differ: set the one that is wrong, for example with NTP")
		}
	}
}
