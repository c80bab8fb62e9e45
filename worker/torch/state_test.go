package torch_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tandem.dev/worker/torch"
)

func TestStateInParts(t *testing.T) {
	tr := newTrainer(t, torch.TrainerConfig{Module: build(t, cnn, 1), Loss: torch.CrossEntropy, Optimizer: adamOf(torch.Adam)})
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
	part, err := tr.StateOf(reversed)
	if err != nil || len(part) != len(reversed) {
		t.Fatalf("%d tensors, %v", len(part), err)
	}
	for i, x := range part {
		if diff := cmp.Diff(whole[2*(len(part)-1-i)], x); diff != "" {
			t.Errorf("tensor %d of the part:\n%s", i, diff)
		}
	}
	if none, err := tr.StateOf(nil); err != nil || len(none) != 0 {
		t.Errorf("no names gave %v, %v", none, err)
	}
	if _, err := tr.StateOf([]string{"model.nowhere"}); !errors.Is(err, torch.ErrStateMismatch) {
		t.Errorf("an unknown name gave %v", err)
	}
}
