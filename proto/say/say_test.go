package say

import (
	"fmt"
	"strings"
	"testing"
	"text/template"

	"google.golang.org/protobuf/proto"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// TestEveryCodeCanBeSaid: each code has a text in plain form, and the text can be made of the arguments it names.
func TestEveryCodeCanBeSaid(t *testing.T) {
	for number, name := range tandemv1.Reason_Code_name {
		code := tandemv1.Reason_Code(number)
		if p, ok := phrases().reasons[code]; ok != (number != 0) {
			t.Errorf("%s has a text: %v", name, ok)
		} else if ok {
			check(t, name, p)
		}
	}
	for number, name := range tandemv1.Event_Type_name {
		what := tandemv1.Event_Type(number)
		if p, ok := phrases().events[what]; ok != (number != 0) {
			t.Errorf("%s has a text: %v", name, ok)
		} else if ok {
			check(t, name, p)
		}
	}
}

func check(t *testing.T, name string, p parsed) {
	t.Helper()
	args := map[string]string{}
	for _, a := range append(named(p.text, true), named(p.cli, true)...) {
		args[a] = "1"
	}
	for _, tmpl := range []*template.Template{p.text, p.cli} {
		if tmpl == nil {
			continue
		}
		var b strings.Builder
		if err := tmpl.Execute(&b, args); err != nil || tmpl == p.text && strings.TrimSpace(b.String()) == "" || strings.Contains(b.String(), "<no value>") {
			t.Errorf("%s: %q: %v", name, b.String(), err)
		}
		if text := strings.TrimSpace(b.String()); tmpl == p.text && strings.HasSuffix(text, ".") && !strings.HasSuffix(tmpl.Root.String(), "}}") {
			t.Errorf("%s ends with a full stop, which is put there when it is needed", name)
		}
	}
	if p.text == nil {
		t.Errorf("%s has advice and no text", name)
	} else if strings.Contains(p.text.Root.String(), "tandem ") {
		t.Errorf("%s names a command, which is advice of the command line alone", name)
	}
}

func TestReason(t *testing.T) {
	lost := &tandemv1.Reason{Code: tandemv1.Reason_CODE_NODE_LOST, Args: map[string]string{"node": "a"}}
	if got := Reason(lost, CLI); got != "Node a was lost." {
		t.Errorf("%q", got)
	}
	missing := &tandemv1.Reason{Code: tandemv1.Reason_CODE_NOT_FOUND, Args: map[string]string{"noun": "node", "name": "x"}}
	for face, want := range map[Face]string{
		Plain: `node "x" was not found`,
		CLI:   `node "x" was not found; see what there is with: tandem node list`,
	} {
		if got := Clause(missing, face); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := Reason(nil, CLI) + Reason(&tandemv1.Reason{}, CLI); got != "" {
		t.Errorf("a reason without a code says %q", got)
	}
	if got, want := Reason(missing, CLI), `Node "x" was not found; see what there is with: tandem node list`; got != want {
		t.Errorf("%q, want %q: a full stop would be copied with the command", got, want)
	}
	busy := &tandemv1.Reason{Code: tandemv1.Reason_CODE_SLOTS_BUSY, Args: map[string]string{
		"slots": "2", "free": "1", "available": "3", "pool": "default", "serving": "1", "next": "true",
	}}
	if got, want := Reason(busy, CLI), `Wants 2 slots, 1 of 3 in pool "default" are free (not counting 1 that serves models): next in line.`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	newer := &tandemv1.Reason{Code: 9999, Args: map[string]string{"b": "2", "a": "1"}, Cause: lost}
	if got := Reason(newer, CLI); got != `9999 a="1" b="2": node a was lost.` {
		t.Errorf("a code of a newer program: %q", got)
	}
}

func TestEvent(t *testing.T) {
	e := &tandemv1.Event{Type: tandemv1.Event_TYPE_NODE_DRAINED, Name: "a", Args: map[string]string{"by": "ann"}}
	if got, want := Event(e, Plain), "Node a takes no new work, and what trains there goes elsewhere, as ann asked."; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	e = &tandemv1.Event{
		Type: tandemv1.Event_TYPE_ALL_RANKS_LOST, Name: "digits", Args: map[string]string{"step": "40"},
		Cause: &tandemv1.Reason{Code: tandemv1.Reason_CODE_NODE_LOST, Args: map[string]string{"node": "a"}},
	}
	if got, want := Event(e, Plain), "Job digits lost its ranks: Node a was lost. It goes on from step 40."; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := Event(&tandemv1.Event{Message: "As it was stored."}, CLI); got != "As it was stored." {
		t.Errorf("an event of the time before types: %q", got)
	}
}

// TestFill: rows get their text wherever they are in an answer, and stay what they are themselves.
func TestFill(t *testing.T) {
	why := &tandemv1.Reason{Code: tandemv1.Reason_CODE_NODE_LOST, Args: map[string]string{"node": "a"}}
	stored := &tandemv1.Job{Id: "job-2", Reason: "As it was stored.", Spec: &tandemv1.JobSpec{Resources: &tandemv1.ResourceSpec{Workers: 2}}}
	job, trial := &tandemv1.Job{Id: "job-1", Why: why}, &tandemv1.Trial{Id: "trial-1", Why: why}
	node := &tandemv1.Node{Id: "node-1", Fault: &tandemv1.NodeFault{Why: why}}
	before := fmt.Sprint(proto.Clone(job), proto.Clone(trial), proto.Clone(node))
	list := &tandemv1.ListJobsResponse{Jobs: []*tandemv1.Job{job, stored}}
	Fill(list, Plain, nil)
	if list.GetJobs()[0].GetReason() != "Node a was lost." || list.GetJobs()[0].GetId() != "job-1" || list.GetJobs()[1].GetReason() != "As it was stored." ||
		list.GetJobs()[1].GetWorkers() != 2 || stored.GetWorkers() != 0 {
		t.Errorf("%v", list)
	}
	watch := &tandemv1.WatchJobResponse{Job: job, Trials: []*tandemv1.Trial{trial}}
	Fill(watch, Plain, func(row proto.Message) *tandemv1.Reason {
		if row.(interface{ GetId() string }).GetId() == "trial-1" {
			return &tandemv1.Reason{Code: tandemv1.Reason_CODE_AGENT_STOPPED, Args: map[string]string{"node": "b"}}
		}
		return nil
	})
	if watch.GetJob().GetReason() != "Node a was lost." || watch.GetTrials()[0].GetReason() != "The agent of node b was stopped." || watch.GetTrials()[0].GetWhy().GetArgs()["node"] != "b" {
		t.Errorf("%v", watch)
	}
	use := &tandemv1.GetNodeResponse{Node: &tandemv1.NodeUse{Node: node}}
	Fill(use, CLI, nil)
	if use.GetNode().GetNode().GetFault().GetCause() != "Node a was lost." {
		t.Errorf("%v", use)
	}
	if after := fmt.Sprint(proto.Clone(job), proto.Clone(trial), proto.Clone(node)); after != before {
		t.Errorf("rows were changed: %s, were %s", after, before)
	}
}
