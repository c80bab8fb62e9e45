package leader

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"tandem.dev/coordinator/id"
	"tandem.dev/coordinator/placement"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/say"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// refusedPause keeps decider and state machine from keeping each other busy should they ever disagree. It is short, for reports come
// between a decision and its entry all the time.
const refusedPause = 50 * time.Millisecond

// Placement decides what becomes of all slots.
func Placement(s *state.State, heard placement.Progress, p Proposer, log zerolog.Logger) Loop {
	const name = "placement"
	return Loop{name, func(ctx context.Context) error {
		return watch(ctx, s, func(ctx context.Context, v *state.View, now time.Time) (time.Time, error) {
			decided := placement.Decide(v, heard, now, id.New)
			commands := decided.Commands()
			results, err := proposeAll(ctx, p, name, commands)
			if err != nil {
				return decided.Wake, err
			}
			refused := false
			for i, res := range results {
				tell(log, commands[i], res)
				if err := awaitApplied(ctx, s, res); err != nil {
					return decided.Wake, err
				}
				refused = refused || anyRefused(res)
			}
			if refused {
				sleep(ctx, refusedPause)
			}
			return decided.Wake, nil
		})
	}}
}

// proposeAll proposes commands at the same time, for Raft writes together what comes together: many short trials begin in the time of a
// few.
func proposeAll(ctx context.Context, p Proposer, name string, commands []*tandemv1.Command) ([]*tandemv1.Result, error) {
	results, errs := make([]*tandemv1.Result, len(commands)), make([]error, len(commands))
	var wg sync.WaitGroup
	for i, c := range commands {
		wg.Go(func() { results[i], errs[i] = propose(ctx, p, name, c) })
	}
	wg.Wait()
	return results, errors.Join(errs...)
}

// tell logs what a command changes.
func tell(log zerolog.Logger, cmd *tandemv1.Command, res *tandemv1.Result) {
	refused := say.Reason(res.GetWhy(), say.Plain)
	switch c := cmd.GetCommand().(type) {
	case *tandemv1.Command_ApplyPlan:
		for i, a := range c.ApplyPlan.GetAllocations() {
			why := refused
			if parts := res.GetPartWhys(); i < len(parts) {
				why = say.Reason(parts[i], say.Plain)
			}
			log.Info().Str("job", a.GetJobId()).Str("trial", a.GetTrialId()).Int64("gen", a.GetGeneration()).
				Int("workers", len(a.GetMembers())).Str("refused", why).Msg("slots granted")
		}
	case *tandemv1.Command_ReformAllocation:
		r := c.ReformAllocation
		log.Info().Str("allocation", r.GetAllocationId()).Int64("gen", r.GetGeneration()).Ints32("form", r.GetForm()).
			Int("add", len(r.GetAdd())).Int("lose", len(r.GetLose())).Bool("stop", r.GetStop()).Str("reason", say.Reason(r.GetWhy(), say.Plain)).
			Str("refused", refused).Msg("allocation changes")
	case *tandemv1.Command_StopAllocation:
		r := c.StopAllocation
		log.Info().Str("allocation", r.GetAllocationId()).Bool("end", r.GetEnd()).Bool("now", r.GetNow()).
			Str("reason", say.Reason(r.GetWhy(), say.Plain)).Str("refused", refused).Msg("allocation stops")
	case *tandemv1.Command_ApplyRollout:
		r := c.ApplyRollout
		log.Info().Str("model", r.GetName()).Int("place", len(r.GetPlace())).Int("remove", len(r.GetRemove())).Str("refused", refused).
			Msg("replicas change")
	}
}
