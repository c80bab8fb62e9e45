package queue

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

func TestText(t *testing.T) {
	now := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	in := func(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(now.Add(d)) }
	for name, c := range map[string]struct {
		o     *tandemv1.Outlook
		would bool
		want  string
	}{
		"waits": {&tandemv1.Outlook{
			Pool: "default", Position: 8, Ahead: []string{"a", "b", "c", "d", "e", "f"}, Reason: "Waits behind a, which is older.",
			BeginsAfter: in(90 * time.Second), BeginsBefore: in(63 * time.Minute),
			Changes: []*tandemv1.StartChange{
				{Workers: 2}, {Priority: 3, Frees: []*tandemv1.Freed{{Job: "low", Slots: 4, Parked: true}, {Job: "wide", Slots: 1}}}, {Pool: "gpu"},
			},
		}, false, `x waits in pool default: number 8 of those that wait
Why:     Waits behind a, which is older.
Ahead:   a, b, c, d, e and 2 more
Begins:  in 1m30s to 1h3m, as far as can be predicted
At once: with resources.workers=2 or fewer
         with priority=3 or higher; it takes all 4 slots of low, which keeps a checkpoint and waits again; it takes 1 slot of wide, which goes on with fewer
         with resources.pool=gpu`},
		"nobody knows": {&tandemv1.Outlook{Pool: "default", Position: 1, Reason: "Next in line."}, false,
			`x waits in pool default: number 1 of those that wait
Why:     Next in line.
Begins:  nobody knows: it is not known how long what is before it takes`},
		"would begin": {&tandemv1.Outlook{Pool: "p", OnLoan: true, Now: []*tandemv1.NodeSlots{{Node: "n1", Slots: 2}, {Node: "n2", Slots: 1}}}, true,
			`x would begin at once in pool p: 2 slots on n1, 1 slot on n2
Loan:    another is before it, and gets the slots when it can begin with them`},
		"would take": {&tandemv1.Outlook{
			Pool: "p", Position: 1, Reason: "Next in line.", BeginsAfter: in(0), BeginsBefore: in(0),
			Frees: []*tandemv1.Freed{{Job: "low", Slots: 1, Parked: true}},
		}, true, `x would wait in pool p: number 1 of those that wait
Why:     Next in line.
Begins:  as soon as the slots are free
Takes:   all 1 slot of low, which keeps a checkpoint and waits again`},
		"runs": {&tandemv1.Outlook{Pool: "p", Reason: "Trains on 2 ranks."}, false, `x does not wait for slots
State:   Trains on 2 ranks.`},
	} {
		if got := Text(c.o, "x", c.would, now); got != c.want {
			t.Errorf("%s:\n%s\nwant:\n%s", name, got, c.want)
		}
	}
}
