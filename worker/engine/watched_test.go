package engine

import (
	"strings"
	"testing"
	"time"

	"tandem.dev/worker/torch"
	"tandem.dev/worker/train"
)

// busy is a model that computes for some seconds when it is saved to be served.
const busy = `def __getstate__(self) -> Tuple[Tensor, bool]:
    n = 0
    if not self.training:
        while n < 5000000:
            n = n + 1
    return (self.weight, self.training)
def __setstate__(self, state: Tuple[Tensor, bool]) -> None:
    self.weight = state[0]
    self.training = state[1]
def forward(self, x: Tensor) -> Tensor:
    return torch.flatten(x, 1) * self.weight
`

// TestSavingAModelIsWatched: it runs code of the user's, as loading does.
func TestSavingAModelIsWatched(t *testing.T) {
	m, err := torch.Compile(torch.ModuleDef{Class: "test.Busy", Params: []torch.ParamDef{{Name: "weight", Shape: []int64{2}}}, Forward: busy}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	file, err := m.Save()
	if err != nil {
		t.Fatal(err)
	}
	state, err := m.State()
	if err != nil {
		t.Fatal(err)
	}
	spec := parse(t, mlp)
	own(upload(t, file))(spec)
	dog := &watchdog{limit: 200 * time.Millisecond}
	told := make(chan error, 1)
	go dog.run(t.Context(), func(err error) { told <- err })
	done := make(chan error, 1)
	go func() {
		_, _, err := exporter{shared.store, "", dog}.Export(t.Context(), spec, []int64{2}, 2, state)
		done <- err
	}()
	select {
	case err := <-told:
		if !train.IsPermanent(err) || !strings.Contains(err.Error(), "saving it within 200ms (limits.step)") {
			t.Error(err)
		}
		<-done
	case err := <-done:
		t.Errorf("nobody was told: %v", err)
	}
}
