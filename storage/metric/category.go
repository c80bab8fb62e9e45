package metric

import (
	"encoding/json"
	"fmt"
	"time"
)

// Category is what an engine is doing. It is always doing exactly one of them.
type Category int

// The categories.
const (
	Starting      Category = iota // loads the dataset, builds the model, restores a checkpoint
	Waiting                       // for the other ranks: a process group is to be formed, or one does not answer
	Storage                       // waits for a store that is unavailable
	Data                          // waits for the rows of a batch
	Forward                       // forward pass and loss
	Backward                      // backward pass, with the communication hidden behind it
	Communication                 // collectives that were not hidden
	Optimizer                     // updates the parameters
	Other                         // belongs to a step, and is none of the above
	Checkpoint                    // waits for the copy of a checkpoint, or at the end for its commit
	Evaluate                      // measures the validation split, or publishes
	Lost                          // work at a step that was not committed, or at an evaluation that was cut off
	Categories                    // how many there are
)

var names = [Categories]string{
	"starting", "waiting", "storage", "data", "forward", "backward", "communication", "optimizer", "other", "checkpoint", "evaluate", "lost",
}

// String is the name of a category as it is stored.
func (c Category) String() string {
	if c < 0 || c >= Categories {
		return fmt.Sprintf("category %d", int(c))
	}
	return names[c]
}

// MarshalText writes the name.
func (c Category) MarshalText() ([]byte, error) {
	if c < 0 || c >= Categories {
		return nil, fmt.Errorf("there is no category %d", int(c))
	}
	return []byte(names[c]), nil
}

// UnmarshalText reads a name.
func (c *Category) UnmarshalText(b []byte) error {
	for i, name := range names {
		if name == string(b) {
			*c = Category(i)
			return nil
		}
	}
	return fmt.Errorf("unknown category %.40q", b)
}

// Times is how long each category took.
type Times [Categories]time.Duration

// Total of all categories.
func (t Times) Total() (sum time.Duration) {
	for _, d := range t {
		sum += d
	}
	return sum
}

// Add adds the times of another stretch.
func (t *Times) Add(more Times) {
	for c, d := range more {
		t[c] += d
	}
}

// Step is the time of the categories that steps are made of.
func (t Times) Step() time.Duration {
	return t[Data] + t[Forward] + t[Backward] + t[Communication] + t[Optimizer] + t[Other] + t[Checkpoint]
}

// MarshalJSON writes nanoseconds by name; what took no time is left out.
func (t Times) MarshalJSON() ([]byte, error) {
	m := map[Category]int64{}
	for c, d := range t {
		if d != 0 {
			m[Category(c)] = int64(d)
		}
	}
	return json.Marshal(m)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (t *Times) UnmarshalJSON(b []byte) error {
	var m map[Category]int64
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	*t = Times{}
	for c, ns := range m {
		if ns < 0 || ns > int64(maxSpan) {
			return fmt.Errorf("%s took %d ns", c, ns)
		}
		t[c] = time.Duration(ns)
	}
	return nil
}
