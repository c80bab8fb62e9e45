package search

// Mode says which values of the metric are better.
type Mode string

// The modes.
const (
	Min Mode = "min"
	Max Mode = "max"
)

// Config is what a search is about.
type Config struct {
	Space  Space
	Method Method
	Mode   Mode
	Seed   int64
	// MaxTrials is how many trials may be made, MaxConcurrent how many may train at a time.
	MaxTrials     int
	MaxConcurrent int
	// MaxFailed is how many trials may fail before the search is over.
	MaxFailed int
	// Prior is what is known from earlier searches of the same space.
	Prior []Prior
}

// Point is the value of each hyper-parameter that is there, by name. Values are those of JSON: float64, string, bool, []any.
type Point map[string]any

// Prior is what an earlier search found out about a point.
type Prior struct {
	Point Point
	Value float64
	// Share of the whole training it was measured at.
	Share float64
}

// Event is one thing that happened: exactly one of its parts is set.
type Event struct {
	Begun     bool
	Measured  *Measured
	Ended     *Ended
	Extended  *Extended
	Exhausted *Exhausted
}

// Measured is a value of the metric of a trial.
type Measured struct {
	Trial int
	Share float64
	Value float64
}

// Outcome says how a trial stopped training.
type Outcome string

// The outcomes. A trial that reached its share can be continued, all others are over.
const (
	Reached   Outcome = "reached"
	Completed Outcome = "completed"
	Failed    Outcome = "failed"
	Diverged  Outcome = "diverged"
	Stopped   Outcome = "stopped"
)

// Ended says that a trial has stopped training.
type Ended struct {
	Trial   int
	Outcome Outcome
}

// Extended says that another number of trials may be made.
type Extended struct{ MaxTrials int }

// Exhausted says that a limit was reached: trials are neither made nor continued any more.
type Exhausted struct{ Reason string }

// Decision is what to do: exactly one of Create, Continue, Stop and Finish is set.
type Decision struct {
	Create   *Create
	Continue *Continue
	Stop     *Stop
	Finish   bool
	// Failed: it finishes since too many trials have failed.
	Failed bool
	// Reason is shown to people word for word.
	Reason string
}

// Create makes a trial.
type Create struct {
	Trial int
	Point Point
	// Until is the share of the whole training to stop at.
	Until float64
	// From is the trial whose newest checkpoint it begins from; 0: from the beginning.
	From int
}

// Continue lets a trial that has reached its share train on.
type Continue struct {
	Trial int
	Until float64
}

// Stop ends a trial, whether it trains or waits.
type Stop struct{ Trial int }
