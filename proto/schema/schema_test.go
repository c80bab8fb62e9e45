package schema_test

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func TestUnknown(t *testing.T) {
	strange := &tandemv1.JobSpec{}
	strange.ProtoReflect().SetUnknown(protoreflect.RawFields{0xf8, 0xf0, 0x04, 1})
	for want, m := range map[string]proto.Message{
		"":                                   &tandemv1.SubmitJobRequest{Spec: &tandemv1.JobSpec{Name: "x"}},
		"field 9999 of JobSpec":              strange,
		"field 9999 of JobSpec in spec":      &tandemv1.SubmitJobRequest{Spec: strange},
		"field 9999 of JobSpec in jobs.spec": &tandemv1.ListJobsResponse{Jobs: []*tandemv1.Job{{}, {Spec: strange}}},
		"value 99 of JobIntent in intent":    &tandemv1.SetJobIntentRequest{Intent: 99},
	} {
		if got := schema.Unknown(m); got != want {
			t.Errorf("%v: %q, want %q", m, got, want)
		}
	}
	if got := schema.UnknownField(&tandemv1.SetJobIntentRequest{Intent: 99}); got != "" {
		t.Errorf("a value of an enum counts as a field: %q", got)
	}
}

// TestWithin: what is above a level is left out of a copy, the rest stays.
func TestWithin(t *testing.T) {
	m := &tandemv1.ProposeRequest{Command: &tandemv1.Command{Actor: "x", Command: &tandemv1.Command_Quarantine{Quarantine: &tandemv1.Quarantine{}}}}
	if got := schema.Level(m); got != 2 {
		t.Fatalf("level %d, want 2", got)
	}
	if got := schema.Within(m, 2); got != m {
		t.Error("a message within the level was copied")
	}
	got := schema.Within(m, 1)
	if got.GetCommand().GetCommand() != nil || got.GetCommand().GetActor() != "x" || schema.Level(got) != 1 {
		t.Errorf("%v", got)
	}
	if m.GetCommand().GetQuarantine() == nil {
		t.Error("the message itself was changed")
	}
}

// TestRows: each kind of row is identified by a string, and no two tables have one message.
func TestRows(t *testing.T) {
	seen := map[protoreflect.FullName]bool{}
	for _, r := range schema.Rows() {
		if r.Key == nil || r.Key.Kind() != protoreflect.StringKind {
			t.Errorf("%s has no key that is a string", r.Record.Name())
		}
		if name := r.Record.Message().FullName(); seen[name] {
			t.Errorf("%s is in two tables", name)
		} else {
			seen[name] = true
		}
	}
	if len(seen) < 19 {
		t.Errorf("%d tables", len(seen))
	}
}
