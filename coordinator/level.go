package coordinator

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// announcePause is the time between two tries to say which version this coordinator has.
const announcePause = time.Second

// announce tells the cluster which version and feature level this coordinator has, once it is one of its coordinators.
func (c *Coordinator) announce(ctx context.Context) error {
	me := &tandemv1.Program{Id: c.creds.Identity.Node, Version: c.cfg.Version, Level: schema.Known}
	select {
	case <-ctx.Done():
		return nil
	case <-c.ready:
	}
	for {
		there, _ := c.state.View().Program(me.GetId())
		me.ModifiedIndex = there.GetModifiedIndex()
		if proto.Equal(there, me) {
			return waitFor(ctx)
		}
		_, err := c.node.Propose(ctx, &tandemv1.Command{
			Actor: me.GetId(), Command: &tandemv1.Command_AnnounceProgram{AnnounceProgram: &tandemv1.AnnounceProgram{Program: me}},
		})
		if err == nil {
			return waitFor(ctx) // a refusal too: it was removed, and ends for that
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(announcePause):
			c.log.Warn().Err(err).Msg("could not say yet which version this coordinator has")
		}
	}
}

// waitFor waits until ctx ends.
func waitFor(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
