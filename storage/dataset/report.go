package dataset

import (
	"fmt"
	"slices"
	"strings"
)

// Report tells what FromCSV found. It is filled in as far as the conversion got, also when
// it failed.
type Report struct {
	Rows        int64     // data rows read
	Bad         []Problem // bad rows in line order, the first maxProblems
	BadRows     int64
	Dropped     []Problem // rows left out because of missing values, likewise
	DroppedRows int64
	FilledCells int64 // missing values replaced by a mean
	Duplicates  int64 // rows equal to an earlier one, kept
	Leaked      int64 // rows of validation and test that are equal to a training row
	Columns     []Column
	Task        Task
	TaskReason  string // why Task, if it was left to FromCSV
	Classes     []Class
	// Scales are the features with the smallest and the largest spread, where they are so far apart that the model mostly sees the
	// second: without a normalisation of each feature.
	Scales [2]string
}

// Problem is what is wrong with one row.
type Problem struct {
	Line   int    // in the file, from 1
	Column string // empty if it is the row as a whole
	Reason string
}

// String is what a user reads: "line 7, column age: ...".
func (p Problem) String() string {
	if p.Column == "" {
		return fmt.Sprintf("line %d: %s", p.Line, p.Reason)
	}
	return fmt.Sprintf("line %d, column %s: %s", p.Line, p.Column, p.Reason)
}

// Column is what was found in one column.
type Column struct {
	Name    string
	Role    string // feature, label or dropped
	Type    string // int, float, text, mixed or empty
	Missing int64  // cells without a value
	// Merged is how many of the first different values became equal to another one, since they have more digits than a 32-bit number
	// holds; 0 when that is chance. MergedExample are two of them.
	Merged        int64
	MergedExample [2]string
	Constant      bool // a feature whose values are all the same in the training split
	Counts        bool // a feature of whole numbers that only rise, or only fall, from row to row, as an id or a time does
}

// Class is one class and its rows in each split, indexed like Ratio.
type Class struct {
	Name string
	Rows [3]int64
}

// maxProblems bounds the memory that a hopeless file takes.
const maxProblems = 1000

// BadRowsError: more rows are bad than the Options allow.
type BadRowsError struct {
	Problems []Problem // the first maxProblems
	Rows     int64     // all of them
	Allowed  int
}

// Error names the first few rows and says what to do.
func (e *BadRowsError) Error() string {
	const shown = 5
	var b strings.Builder
	fmt.Fprintf(&b, "%d bad rows, %d are allowed:", e.Rows, e.Allowed)
	for i, p := range e.Problems {
		if i == shown {
			fmt.Fprintf(&b, "\n  and %d more", e.Rows-shown)
			break
		}
		fmt.Fprintf(&b, "\n  %s", p)
	}
	fmt.Fprintf(&b, "\nmend the file, or leave the rows out with --max-bad-rows %d", e.Rows)
	has := func(what string) bool {
		return slices.ContainsFunc(e.Problems, func(p Problem) bool { return strings.Contains(p.Reason, what) })
	}
	switch {
	case has("missing value"):
		b.WriteString(" (for missing values also --missing drop or --missing mean)")
	case has("missing label"):
		b.WriteString(" (for missing labels also --missing drop)")
	}
	if has("is not UTF-8") {
		b.WriteString("; or " + toUTF8)
	}
	return b.String()
}
