package tasklog

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/layout"
)

const maxLine = 1 << 20

// line is one line of an object of a log, whose name is <unix milliseconds, 13 digits>-<node>-r<rank>-g<generation>.jsonl.
type line struct {
	Time time.Time `json:"t"`
	Node string    `json:"node"`
	Rank int32     `json:"rank"`
	Gen  int64     `json:"gen"`
	Line string    `json:"line"`
}

// New makes a reader of the log of a trial, from its beginning.
func New(store storage.Store, trial string) *Reader {
	return &Reader{store: store, trial: trial, seen: map[string]bool{}}
}

// Reader reads the log of a trial as it grows.
type Reader struct {
	store storage.Store
	trial string
	seen  map[string]bool // keys that were sent
}

// Sink is where lines go.
type Sink struct {
	// Open makes room for objects to be read, if there are any; Close gives it back.
	Open  func() error
	Close func()
	// Send takes a line.
	Send func(*tandemv1.StreamLogsResponse) error
}

// Send sends the lines of objects that were not sent yet, in the order of their keys. Errors are those of the store and of the sink.
// Without sweep it looks only at what was stored in the last minutes, which is less work.
func (l *Reader) Send(ctx context.Context, now time.Time, sweep bool, to Sink) error {
	keys, err := l.fresh(ctx, now, sweep)
	if err != nil || len(keys) == 0 {
		return err
	}
	if err := to.Open(); err != nil {
		return err
	}
	defer to.Close()
	for _, key := range keys {
		if err := l.sendObject(ctx, key, to.Send); err != nil {
			return fmt.Errorf("read the log %s: %w", key, err)
		}
		l.seen[key] = true
	}
	return nil
}

// fresh lists the objects that were not sent yet, by key. The log of a long training has many: without sweep only those
// are listed whose time is of the last minutes, and what an agent stored late is found by the next sweep.
func (l *Reader) fresh(ctx context.Context, now time.Time, sweep bool) ([]string, error) {
	prefixes := []string{layout.Logs(l.trial)}
	if !sweep {
		prefixes = []string{recent(l.trial, now.Add(-span)), recent(l.trial, now)}
	}
	var keys []string
	for _, prefix := range prefixes {
		for info, err := range l.store.List(ctx, prefix) {
			if err != nil {
				return nil, fmt.Errorf("list the log of %s: %w", l.trial, err)
			}
			if !l.seen[info.Key] && strings.HasSuffix(info.Key, ".jsonl") {
				keys = append(keys, info.Key)
			}
		}
	}
	return keys, nil
}

// span is the time that the objects of one recent have in common: as many milliseconds as the digits left out count.
const span = 100_000 * time.Millisecond

// recent is the prefix of a log's objects whose time is in the same span as now.
func recent(trial string, now time.Time) string {
	return layout.Logs(trial) + fmt.Sprintf("%013d", now.UnixMilli())[:8]
}

func (l *Reader) sendObject(ctx context.Context, key string, send func(*tandemv1.StreamLogsResponse) error) error {
	r, _, err := l.store.Get(ctx, key)
	if errors.Is(err, storage.ErrNotFound) { // its agent has made room for newer lines
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close()
	return read(r, func(said line) error {
		return send(&tandemv1.StreamLogsResponse{
			Time: timestamppb.New(said.Time), TrialId: l.trial, NodeId: said.Node, Rank: said.Rank, Generation: said.Gen, Line: said.Line,
		})
	})
}

// read reads the lines of an object.
func read(r io.Reader, each func(line) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return err
		}
		if err := each(l); err != nil {
			return err
		}
	}
	return lines.Err()
}
