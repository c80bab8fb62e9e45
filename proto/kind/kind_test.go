package kind

import (
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"tandem.dev/proto/plain"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// each visits the numbers of an enum but 0, which stands for none.
func each(e protoreflect.EnumDescriptor, visit func(n protoreflect.EnumNumber, name protoreflect.Name)) {
	for i := range e.Values().Len() {
		if v := e.Values().Get(i); v.Number() != 0 {
			visit(v.Number(), v.Name())
		}
	}
}

// TestEachKindHasARow: what the schema knows the table knows, once, and a job of a kind can begin.
func TestEachKindHasARow(t *testing.T) {
	n := 0
	each(tandemv1.JobKind(0).Descriptor(), func(id protoreflect.EnumNumber, name protoreflect.Name) {
		n++
		k := Of(&tandemv1.Job{Kind: tandemv1.JobKind(id)})
		switch {
		case k.ID != tandemv1.JobKind(id):
			t.Errorf("%s has no row", name)
		case k.Searches == (k.First != 0):
			t.Errorf("%s: either a search makes the trials, or the one trial has a first stage", name)
		case !k.Trains && k.Source == nil:
			t.Errorf("%s begins neither with a dataset nor with a checkpoint", name)
		case k.First != 0 && StageOf(&tandemv1.Trial{Stage: k.First}).ID != k.First:
			t.Errorf("%s begins with a stage that has no row", name)
		}
		if same, ok := Named(plain.Word(tandemv1.JobKind(id))); !ok || same.ID != k.ID {
			t.Errorf("%s is not found by its word", name)
		}
	})
	if n != len(kinds) {
		t.Errorf("%d rows for %d kinds", len(kinds), n)
	}
	if k := Of(&tandemv1.Job{Kind: 99}); k.ID != 0 || k.Trains || k.Searches || k.Source != nil {
		t.Errorf("a kind of tomorrow is taken for %v", k.ID)
	}
	if _, ok := Named("unspecified"); ok {
		t.Error("no kind was given, and one was found")
	}
}

// TestEachStageHasARow: what the schema knows the table knows, once; no stage does all or nothing.
func TestEachStageHasARow(t *testing.T) {
	n := 0
	each(tandemv1.TrialStage(0).Descriptor(), func(id protoreflect.EnumNumber, name protoreflect.Name) {
		n++
		switch s := StageOf(&tandemv1.Allocation{Stage: tandemv1.TrialStage(id)}); {
		case s.ID != tandemv1.TrialStage(id):
			t.Errorf("%s has no row", name)
		case s.Resumes && !s.Checkpoints:
			t.Errorf("%s goes on from a checkpoint and stores none", name)
		case s.Publishes == s.Checkpoints:
			t.Errorf("%s leaves either checkpoints or a version", name)
		}
	})
	if n != len(stages) {
		t.Errorf("%d rows for %d stages", len(stages), n)
	}
}
