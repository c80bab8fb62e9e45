package torch_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tandem.dev/worker/torch"
)

func TestStateInParts(t *testing.T) {
	tr := newTrainer(t, torch.TrainerConfig{Device: device, Module: build(t, cnn, 1), Loss: torch.CrossEntropy, Optimizer: adamOf(torch.Adam)})
	whole := state(t, tr)
	names, bytes, err := tr.StateSizes()
	if err != nil || len(names) != len(whole) {
		t.Fatalf("%d names of %d tensors, %v", len(names), len(whole), err)
	}
	var reversed []string
	for i, x := range whole {
		if names[i] != x.Name || bytes[i] != int64(len(x.Data)) {
			t.Errorf("tensor %d is %s of %d bytes, not %s of %d", i, x.Name, len(x.Data), names[i], bytes[i])
		}
		if i%2 == 0 {
			reversed = append([]string{x.Name}, reversed...)
		}
	}
	part, err := tr.StateOf(reversed, nil)
	if err != nil || len(part) != len(reversed) {
		t.Fatalf("%d tensors, %v", len(part), err)
	}
	for i, x := range part {
		if diff := cmp.Diff(whole[2*(len(part)-1-i)], x); diff != "" {
			t.Errorf("tensor %d of the part:\n%s", i, diff)
		}
	}
	// Memory that fits is used again, and holds what the state is now.
	step(t, tr, torch.StepInput{Batch: images(8, 1), LossScale: 1.0 / 8, LR: 0.1})
	now := state(t, tr)
	part[1].Data = part[1].Data[1:] // does not fit
	again, err := tr.StateOf(reversed, part)
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range again {
		if diff := cmp.Diff(now[2*(len(again)-1-i)], x); diff != "" {
			t.Errorf("tensor %d of the part, later:\n%s", i, diff)
		}
		if used := &x.Data[0] == &part[i].Data[0]; used != (i != 1) {
			t.Errorf("tensor %d is in memory that was there: %v", i, used)
		}
	}
	if none, err := tr.StateOf(nil, nil); err != nil || len(none) != 0 {
		t.Errorf("no names gave %v, %v", none, err)
	}
	if _, err := tr.StateOf([]string{"model.nowhere"}, nil); !errors.Is(err, torch.ErrStateMismatch) {
		t.Errorf("an unknown name gave %v", err)
	}
}
