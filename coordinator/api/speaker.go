package api

import (
	"context"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/kind"
	"tandem.dev/proto/say"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// explainedFor is how long an explanation holds while the state stays the same: pauses after faults end with the time alone.
const explainedFor = time.Second

// explainer keeps the last explanation, for many ask about one state.
type explainer struct {
	mu    sync.Mutex
	index uint64
	at    time.Time
	why   map[string]*tandemv1.Reason
}

// now says why trials wait, or train with fewer ranks than they should, by trial.
func (e *explainer) now(v *state.View, explain func(*state.View, time.Time) map[string]*tandemv1.Reason) map[string]*tandemv1.Reason {
	e.mu.Lock()
	defer e.mu.Unlock()
	if now := time.Now(); e.why == nil || e.index != v.Index() || now.Sub(e.at) > explainedFor {
		e.why, e.index, e.at = explain(v, now), v.Index(), now
	}
	return e.why
}

// Waits says why trials wait, or train with fewer ranks than they should, by trial.
func (a *API) Waits(v *state.View) map[string]*tandemv1.Reason {
	return a.explained.now(v.Whole(), a.deps.Explain)
}

// why says why a job or trial is where it is, where that follows from the whole state and not from its row; nil: the row knows.
func (a *API) why(v *state.View, row proto.Message) *tandemv1.Reason {
	switch r := row.(type) {
	case *tandemv1.Trial:
		if r.GetState() == tandemv1.TrialState_TRIAL_STATE_PENDING || r.GetState() == tandemv1.TrialState_TRIAL_STATE_RUNNING {
			return a.waits(v, r)
		}
	case *tandemv1.Job:
		switch {
		case r.GetState() != tandemv1.JobState_JOB_STATE_PENDING && r.GetState() != tandemv1.JobState_JOB_STATE_RUNNING:
		case !kind.Of(r).Searches && len(r.GetTrialIds()) > 0:
			if t, ok := v.Trial(r.GetTrialIds()[0]); ok {
				return a.waits(v, t)
			}
		case r.GetWhy().GetCode() == tandemv1.Reason_CODE_SWEEP_WAITING:
			if first := a.Waits(v)[r.GetWhy().GetArgs()["first"]]; first != nil {
				return &tandemv1.Reason{Code: r.GetWhy().GetCode(), Args: r.GetWhy().GetArgs(), Cause: hidden(v, first)}
			}
		}
	}
	return nil
}

// phaseStorage is the progress of a trial that cannot go on before the store serves, in the words of its engine.
const phaseStorage = "waiting for storage"

// waits says why a trial waits, by the whole state or by what its engine says; nil: its row knows.
func (a *API) waits(v *state.View, t *tandemv1.Trial) *tandemv1.Reason {
	if why := a.Waits(v)[t.GetId()]; why != nil {
		return hidden(v, why)
	}
	running := t.GetState() == tandemv1.TrialState_TRIAL_STATE_RUNNING
	if running && a.deps.Board.Progress(t.GetId(), t.GetGeneration()).GetPhase() == phaseStorage {
		cluster, _ := v.Cluster()
		return &tandemv1.Reason{Code: tandemv1.Reason_CODE_WAITS_FOR_STORE, Cause: cluster.GetStoreFault()}
	}
	return nil
}

// speaker puts the text of events and reasons into all that is answered: rows hold codes and arguments only.
type speaker struct{ a *API }

// WrapUnary implements connect.Interceptor.
func (s speaker) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		res, err := next(ctx, req)
		if err == nil {
			s.speak(ctx, res.Any())
		}
		return res, err
	}
}

// WrapStreamingHandler implements connect.Interceptor.
func (s speaker) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		return next(ctx, speaking{conn, s, ctx})
	}
}

// WrapStreamingClient implements connect.Interceptor.
func (speaker) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (s speaker) speak(ctx context.Context, answer any) {
	if m, ok := answer.(proto.Message); ok {
		v := s.a.now(ctx)
		say.Fill(m, say.Plain, func(row proto.Message) *tandemv1.Reason { return s.a.why(v, row) })
	}
}

// speaking is a stream whose answers have their text.
type speaking struct {
	connect.StreamingHandlerConn
	speaker speaker
	ctx     context.Context //nolint:containedctx // that of the stream
}

// Send implements connect.StreamingHandlerConn.
func (s speaking) Send(answer any) error {
	s.speaker.speak(s.ctx, answer)
	return s.StreamingHandlerConn.Send(answer)
}
