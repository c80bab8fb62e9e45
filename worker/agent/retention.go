package agent

import (
	"fmt"
	"strings"
	"time"
)

// retention decides which chunks of a log stay in the store: the first half of the budget for good, the other half for the newest.
type retention struct {
	head  int64       // bytes that stay
	full  bool        // nothing is added to the head any more
	tail  []keptChunk // oldest first
	bytes int64       // in tail

	over   leftOut
	marked bool // the log says so where it is left out
}

// keptChunk is an object in the store.
type keptChunk struct {
	key          string
	time         time.Time
	bytes, lines int64
}

// leftOut counts what the store does not have of a log.
type leftOut struct{ lines, bytes int64 }

func (l *leftOut) add(lines, bytes int) {
	l.lines += int64(lines)
	l.bytes += int64(bytes)
}

// surplus are the chunks that have to go before one of this many bytes comes, oldest first. Each is dropped once it is gone.
func (r *retention) surplus(coming, budget int64) []keptChunk {
	if !r.full && r.head+coming <= budget/2 {
		return nil
	}
	n, bytes := 0, r.bytes
	for n < len(r.tail) && bytes+coming > budget-budget/2 {
		bytes -= r.tail[n].bytes
		n++
	}
	return r.tail[:n]
}

// drop takes note that the oldest chunk of the tail is gone.
func (r *retention) drop() {
	oldest := r.tail[0]
	r.tail = r.tail[1:]
	r.bytes -= oldest.bytes
	r.over.add(int(oldest.lines), int(oldest.bytes))
}

// add takes note of a chunk that is in the store now.
func (r *retention) add(c keptChunk, budget int64) {
	if !r.full && r.head+c.bytes <= budget/2 {
		r.head += c.bytes
		return
	}
	r.full = true
	r.tail = append(r.tail, c)
	r.bytes += c.bytes
}

// lateMark stands where lines are left out for the first time because the store was slower than the engine, or did not answer.
const lateMark = "(from here on lines are left out that the store did not take in time; the end of this log says how many)"

// overMark stands where lines are left out for the sake of the budget.
func overMark(budget int64) string {
	return fmt.Sprintf("(lines are left out here: of a log with more than %s the store keeps the beginning and the newest lines; "+
		"its end says how many)", mebibytes(budget))
}

// summary is the last line of a log that is not complete.
func summary(over, late leftOut, budget int64) string {
	var parts []string
	if over.lines > 0 {
		parts = append(parts, fmt.Sprintf("%d lines (%d bytes) over the budget of %s for the log of a task",
			over.lines, over.bytes, mebibytes(budget)))
	}
	if late.lines > 0 {
		parts = append(parts, fmt.Sprintf("%d lines (%d bytes) that the store did not take in time", late.lines, late.bytes))
	}
	return "(left out of this log: " + strings.Join(parts, ", and ") + ")"
}

func mebibytes(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }
