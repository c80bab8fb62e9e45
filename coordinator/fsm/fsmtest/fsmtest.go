package fsmtest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/fsm"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// T0 is when a World begins.
var T0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// World is a state and the time at which commands are applied to it.
type World struct {
	T   *testing.T
	S   *state.State
	Now time.Time

	ids int
}

// New returns an empty World.
func New(t *testing.T) *World { return &World{S: state.New(), Now: T0, T: t} }

// View is the state as it is.
func (w *World) View() *state.View { return w.S.View() }

// Put writes rows as they are.
func (w *World) Put(rows ...proto.Message) {
	w.T.Helper()
	tx := w.S.Begin()
	tx.SetIndex(w.S.Index() + 1)
	for _, r := range rows {
		tx.Put(r)
	}
	if err := tx.Commit(); err != nil {
		w.T.Fatal(err)
	}
}

// Propose applies a command as if Raft had carried it.
func (w *World) Propose(_ context.Context, cmd *tandemv1.Command) (*tandemv1.Result, error) {
	cmd.Time = timestamppb.New(w.Now)
	tx := w.S.Begin()
	res, err := fsm.Apply(tx, w.S.Index()+1, cmd)
	if err != nil {
		tx.Abort()
		return nil, fmt.Errorf("apply: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	return res, nil
}

// ID returns a new id.
func (w *World) ID() string { w.ids++; return fmt.Sprintf("x-%d", w.ids) }

// Node is one that is alive, in the pool "default".
func Node(id string, slots int) *tandemv1.Node {
	n := &tandemv1.Node{Id: id, Pool: "default", State: tandemv1.NodeState_NODE_STATE_ALIVE, Incarnation: 1, StateChangedAt: timestamppb.New(T0)}
	for i := range slots {
		n.Slots = append(n.Slots, &tandemv1.Slot{Id: fmt.Sprint("cpu", i)})
	}
	return n
}

// Job is one that trains with this many workers in the pool "default", and its trial, which waits for slots.
func Job(id string, workers int32) (*tandemv1.Job, *tandemv1.Trial) {
	return &tandemv1.Job{Id: id, Kind: tandemv1.JobKind_JOB_KIND_TRAIN, Intent: tandemv1.JobIntent_JOB_INTENT_RUN, State: tandemv1.JobState_JOB_STATE_PENDING, TrialIds: []string{id + "t"},
			Spec: &tandemv1.JobSpec{Resources: &tandemv1.ResourceSpec{Workers: workers, Pool: "default"}, Metric: "accuracy", Mode: "max", Checkpoint: &tandemv1.CheckpointSpec{Keep: &tandemv1.KeepSpec{Best: 1, Latest: 2}}}},
		&tandemv1.Trial{Id: id + "t", JobId: id, State: tandemv1.TrialState_TRIAL_STATE_PENDING, Stage: tandemv1.TrialStage_TRIAL_STAGE_TRAIN, CreatedAt: timestamppb.New(T0)}
}
