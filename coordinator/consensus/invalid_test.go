package consensus_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"tandem.dev/coordinator/consensus"
	"tandem.dev/coordinator/coordtest"
	"tandem.dev/coordinator/format"
	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// strange gives a message a field that no version knows.
func strange[M proto.Message](m M) M {
	m.ProtoReflect().SetUnknown(protoreflect.RawFields{0xf8, 0xf0, 0x04, 1}) // field 9999, a varint
	return m
}

// TestInvalidCommandsAreNotLogged: what cannot be applied is refused by the leader, from the leader itself and from a
// follower, and costs no coordinator its life.
func TestInvalidCommandsAreNotLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := coordtest.New(t, 3)
		defer c.Stop()
		createDataset(t, c)
		before := c.State(c.Leader()).Index()
		for name, tc := range map[string]struct {
			cmd  *tandemv1.Command
			want string
		}{
			"nil":          {nil, "no kind"},
			"empty":        {&tandemv1.Command{}, "no kind"},
			"unknown kind": {strange(&tandemv1.Command{}), "unknown field 9999 of Command"},
			"unknown field": {func() *tandemv1.Command {
				cmd := createJob("", "2")
				strange(cmd.GetCreateJob().GetJob().GetSpec().GetResources())
				return cmd
			}(), "unknown field 9999 of ResourceSpec in create_job.job.spec.resources"},
			"in a report": {&tandemv1.Command{Command: &tandemv1.Command_ApplyReports{ApplyReports: &tandemv1.ApplyReports{
				Reports: []*tandemv1.EngineReport{strange(&tandemv1.EngineReport{})},
			}}}, "unknown field 9999 of EngineReport in apply_reports.reports"},
			"unknown value": {&tandemv1.Command{Command: &tandemv1.Command_SetJobIntent{SetJobIntent: &tandemv1.SetJobIntent{
				JobId: "job-1", Intent: 77,
			}}}, "unknown value 77 of JobIntent in set_job_intent.intent"},
			"too large": {&tandemv1.Command{Command: &tandemv1.Command_PutRendezvous{PutRendezvous: &tandemv1.PutRendezvous{
				Value: make([]byte, format.CommandLimit),
			}}}, "the limit is"},
		} {
			for _, i := range []int{c.Leader(), c.Follower()} {
				_, err := c.Node(i).Propose(context.Background(), tc.cmd)
				if !errors.Is(err, consensus.ErrInvalid) || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("%s, at %d: %v, want one with %q", name, i, err, tc.want)
				}
			}
		}
		c.WaitApplied()
		if after := c.State(c.Leader()).Index(); after != before {
			t.Errorf("the log went on from %d to %d", before, after)
		}
	})
}

// TestNoKindOfCommandEndsACoordinator proposes each kind with nothing in it, and with one message in it: whatever the
// answer is, all coordinators live on and agree.
func TestNoKindOfCommandEndsACoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := coordtest.New(t, 3)
		defer c.Stop()
		fields := (&tandemv1.Command{}).ProtoReflect().Descriptor().Oneofs().ByName("command").Fields()
		for i := range fields.Len() {
			empty := &tandemv1.Command{}
			empty.ProtoReflect().Mutable(fields.Get(i))
			all := []*tandemv1.Command{empty}
			inner := fields.Get(i).Message().Fields()
			for j := range inner.Len() {
				cmd := &tandemv1.Command{}
				m := cmd.ProtoReflect().Mutable(fields.Get(i)).Message()
				switch f := inner.Get(j); {
				case f.IsMap() || f.Message() == nil:
					continue
				case f.IsList():
					m.Mutable(f).List().AppendMutable()
				default:
					m.Mutable(f)
				}
				all = append(all, cmd)
			}
			for _, cmd := range all {
				if schema.Kind(cmd) != fields.Get(i) {
					t.Fatalf("%v has kind %v", cmd, schema.Kind(cmd))
				}
				if _, err := c.Node(c.Leader()).Propose(context.Background(), cmd); err != nil && !errors.Is(err, consensus.ErrInvalid) && !errors.Is(err, consensus.ErrLevel) {
					t.Errorf("%v: %v", cmd, err)
				}
			}
		}
		c.WaitApplied()
		var first []byte
		for i := range 3 {
			var b bytes.Buffer
			if err := format.Write(&b, c.State(i).View()); err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = b.Bytes()
			}
			if !bytes.Equal(first, b.Bytes()) {
				t.Errorf("coordinators 0 and %d differ", i)
			}
		}
	})
}

// TestFencedLoopsMayRepeat: the commands of loops that are fenced, which once were left out of a list.
func TestFencedLoopsMayRepeat(t *testing.T) {
	for _, cmd := range []*tandemv1.Command{
		{Command: &tandemv1.Command_ReformAllocation{}}, {Command: &tandemv1.Command_DecideSweep{}}, {Command: &tandemv1.Command_ExhaustSweep{}},
		{Command: &tandemv1.Command_ApplyPlan{}}, {RequestId: "r", Command: &tandemv1.Command_CreateJob{}},
	} {
		if !schema.Repeatable(cmd) {
			t.Errorf("%v is not repeatable", cmd)
		}
	}
	for _, cmd := range []*tandemv1.Command{{}, {Command: &tandemv1.Command_CreateJob{}}, {Command: &tandemv1.Command_ScaleJob{}}} {
		if schema.Repeatable(cmd) {
			t.Errorf("%v is repeatable", cmd)
		}
	}
}
