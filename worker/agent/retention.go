package agent

import "fmt"

// retention decides which chunks of a log stay in the store: the first half of the budget for good, the other half for the newest.
type retention struct {
	head  int64       // bytes that stay
	full  bool        // nothing is added to the head any more
	tail  []keptChunk // oldest first
	bytes int64       // in tail

	lines, left int64 // lines and bytes that were left out
}

// keptChunk is an object in the store.
type keptChunk struct {
	key          string
	bytes, lines int64
}

// surplus are the chunks that have to go before one of so many bytes comes, oldest first. Each is dropped once it is gone.
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
	r.lines += oldest.lines
	r.left += oldest.bytes
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

// note says what is left out.
func (r *retention) note(budget int64) string {
	return fmt.Sprintf("(%d lines with %d bytes are left out here, over the budget of %d MiB that the log of a task has in the store: the beginning and the newest lines stay)",
		r.lines, r.left, budget>>20)
}
