package metric

import (
	"encoding/json"
	"math"
	"time"
)

// Kind is what the lines of a segment are.
type Kind string

// The kinds. Each has a folder of its own, so that who wants one does not read the others.
const (
	Beats Kind = "beats" // Beat and Evaluation
	Steps Kind = "steps" // Run
	Spans Kind = "spans" // Span
)

const (
	version = 1
	format  = "tandem-metrics"
	maxSpan = 10 * 365 * 24 * time.Hour // of any one stretch of time
)

// Header says whose records a segment has. All records of a segment are of one member in one
// generation.
type Header struct {
	Format     string        `json:"format"`
	Version    int           `json:"format_version"`
	Kind       Kind          `json:"kind"`
	Trial      string        `json:"trial"`
	Member     string        `json:"member"`         // engine process that recorded it, unique within the trial
	Node       string        `json:"node,omitempty"` // id of its node
	Generation int64         `json:"generation"`
	Rank       int           `json:"rank"`   // in the generation's process group; -1: in none
	World      int           `json:"world"`  // ranks of that group; 0: in none
	Seq        int64         `json:"seq"`    // of the member's segments of this kind, rising from 0
	Begin      int64         `json:"begin"`  // when it begins, in nanoseconds since 1970 by the node's clock
	Due        time.Duration `json:"due_ns"` // the next one is written after so long
	Lost       int64         `json:"lost,omitempty"`
	Last       bool          `json:"last,omitempty"` // the member ended of its own accord: nothing follows
}

// Segment is one object.
type Segment struct {
	Header
	Beats       []Beat
	Evaluations []Evaluation
	Runs        []Run
	Spans       []Span
}

// Beat is a stretch of a member's life, often that from one sync of the ranks to the next.
type Beat struct {
	From  int64    `json:"from"` // nanoseconds since 1970
	Times Times    `json:"times"`
	First int64    `json:"first"`           // steps done at its beginning
	Step  int64    `json:"step"`            // and at its end
	Epoch float64  `json:"epoch,omitempty"` // epochs done, whole and part
	Rows  float64  `json:"rows,omitempty"`  // rows of the steps, over all ranks; 0: not known
	Loss  *float64 `json:"loss,omitempty"`  // mean over these rows; nil: not known
	LR    float64  `json:"lr,omitempty"`    // learning rate of the last step
	Norm  *float64 `json:"norm,omitempty"`  // of the gradient in the last step, before clipping
}

// To is the end of a beat, in nanoseconds since 1970.
func (b Beat) To() int64 { return b.From + int64(b.Times.Total()) }

// Evaluation is the result of a pass over the validation split.
type Evaluation struct {
	Time    int64              `json:"time"` // nanoseconds since 1970
	Step    int64              `json:"step"` // steps done
	Epoch   float64            `json:"epoch"`
	Metrics map[string]float64 `json:"metrics"`
}

// Run is the exact figures of consecutive steps.
type Run struct {
	First int64  `json:"first"` // number of the first step, from 1
	Loss  Floats `json:"loss"`  // sum over the rows of this rank, of each step
	Norm  Floats `json:"norm"`  // of the average gradient before clipping, of each step
}

// Span is a stretch of time that one thing took.
type Span struct {
	Step   int64         `json:"step"` // that it belongs to
	Of     Category      `json:"of"`
	Begin  int64         `json:"begin"` // nanoseconds since 1970
	Length time.Duration `json:"ns"`
}

// Floats are float64 to the last bit; what is not finite is written as null and read as NaN.
type Floats []float64

// MarshalJSON writes the shortest decimals that give the same numbers.
func (f Floats) MarshalJSON() ([]byte, error) {
	all := make([]*float64, len(f))
	for i := range f {
		if !math.IsNaN(f[i]) && !math.IsInf(f[i], 0) {
			all[i] = &f[i]
		}
	}
	return json.Marshal(all)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (f *Floats) UnmarshalJSON(b []byte) error {
	var all []*float64
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	*f = make(Floats, len(all))
	for i, v := range all {
		if v == nil {
			(*f)[i] = math.NaN()
		} else {
			(*f)[i] = *v
		}
	}
	return nil
}
