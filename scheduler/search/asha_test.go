package search

import "testing"

// TestHighestRungFirst: where trials of two rungs may go on, the one of the higher does. Results that come one by one never leave two, so the rungs are filled by hand.
func TestHighestRungFirst(t *testing.T) {
	s, err := New(Config{Space: nested(), Method: Method{Name: ASHA, Divisor: 2, Rungs: 3}, MaxTrials: 4})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 4 {
		s.trials = append(s.trials, &trial{n: n + 1, state: waiting, level: n % 2, loss: float64(n)})
		s.schedule.reached(s.trials[n])
	}
	for _, want := range []int{2, 1} { // of 2 and 4 in the second rung, of 1 and 3 in the first
		m, ok := s.schedule.next(true, false)
		if !ok || m.continues == nil || m.continues.n != want {
			t.Fatalf("%+v goes on, want trial %d", m, want)
		}
	}
	if m, ok := s.schedule.next(true, false); !ok || m.continues != nil {
		t.Fatalf("%+v, want a new trial", m)
	}
}
