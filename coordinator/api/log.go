package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/layout"
)

const (
	maxLogLine = 1 << 20
	// Agents store the last lines a moment after an engine has ended.
	logGrace = 3 * time.Second
)

// logLine is one line of an object of a log, whose name is <unix milliseconds, 13 digits>-<node>-r<rank>-g<generation>.jsonl.
type logLine struct {
	Time time.Time `json:"t"`
	Node string    `json:"node"`
	Rank int32     `json:"rank"`
	Gen  int64     `json:"gen"`
	Line string    `json:"line"`
}

// StreamLogs implements JobService.
func (a jobs) StreamLogs(ctx context.Context, req *connect.Request[tandemv1.StreamLogsRequest], stream *connect.ServerStream[tandemv1.StreamLogsResponse]) error {
	v, err := a.view(ctx)
	if err != nil {
		return err
	}
	job, trials, err := trialsNamed(v, req.Msg.GetId())
	if err != nil {
		return err
	}
	store, err := a.deps.Store()
	if err != nil {
		return err
	}
	var readers []*logReader
	for _, trial := range trials {
		readers = append(readers, &logReader{store: store, trial: trial, seen: map[string]bool{}})
	}
	var ended, swept time.Time
	for {
		// Whether the job has ended is read before the objects, so that none is missed.
		now := time.Now()
		if current, there := a.deps.State.View().Job(job.GetId()); ended.IsZero() && (!there || state.JobFinal(current.GetState())) {
			ended = now
			if f := current.GetFinishedAt(); f != nil && f.AsTime().Before(now) {
				ended = f.AsTime()
			}
		}
		last := !req.Msg.GetFollow() || !ended.IsZero() && now.Sub(ended) >= logGrace
		sweep := last || now.Sub(swept) >= a.cfg.LogSweep
		if sweep {
			swept = now
		}
		for _, r := range readers {
			if err := r.send(ctx, now, sweep, stream.Send); err != nil {
				return err
			}
		}
		if last {
			return nil
		}
		if err := a.logPause(ctx, job.GetId(), ended); err != nil {
			return err
		}
	}
}

// logPause waits until it is time to look for lines again: after a moment, when the job ends, and when the grace after
// its end is over.
func (a jobs) logPause(ctx context.Context, job string, ended time.Time) error {
	next := time.Now().Add(a.cfg.LogPoll)
	if over := ended.Add(logGrace); !ended.IsZero() && over.Before(next) {
		next = over
	}
	waiting, cancel := context.WithDeadline(ctx, next)
	defer cancel()
	for v := a.deps.State.View(); waiting.Err() == nil; v = a.deps.State.View() {
		if current, there := v.Job(job); ended.IsZero() && (!there || state.JobFinal(current.GetState())) {
			break
		}
		_ = a.deps.State.Wait(waiting, v.Index()) // a change or the deadline: both are a reason to look
	}
	return ctx.Err()
}

// logReader reads the log of a trial as it grows.
type logReader struct {
	store storage.Store
	trial string
	seen  map[string]bool // keys that were sent
}

// send sends the lines of objects that were not sent yet, in the order of their keys.
func (l *logReader) send(ctx context.Context, now time.Time, sweep bool, send func(*tandemv1.StreamLogsResponse) error) error {
	keys, err := l.fresh(ctx, now, sweep)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if err := l.sendObject(ctx, key, send); err != nil {
			return fmt.Errorf("read the log %s: %w", key, err)
		}
		l.seen[key] = true
	}
	return nil
}

// fresh lists the objects that were not sent yet, by key. The log of a long training has many: without sweep only those
// are listed whose time is of the last minutes, and what an agent stored late is found by the next sweep.
func (l *logReader) fresh(ctx context.Context, now time.Time, sweep bool) ([]string, error) {
	prefixes := []string{layout.Logs(l.trial)}
	if !sweep {
		prefixes = []string{recentLogs(l.trial, now.Add(-logSpan)), recentLogs(l.trial, now)}
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

// logSpan is the time that the objects of one recentLogs have in common: as many milliseconds as the digits left out count.
const logSpan = 100_000 * time.Millisecond

// recentLogs is the prefix of a log's objects whose time is in the same span as now.
func recentLogs(trial string, now time.Time) string {
	return layout.Logs(trial) + fmt.Sprintf("%013d", now.UnixMilli())[:8]
}

func (l *logReader) sendObject(ctx context.Context, key string, send func(*tandemv1.StreamLogsResponse) error) error {
	r, _, err := l.store.Get(ctx, key)
	if errors.Is(err, storage.ErrNotFound) { // its agent has made room for newer lines
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close()
	return readLog(r, func(line logLine) error {
		return send(&tandemv1.StreamLogsResponse{
			Time: timestamppb.New(line.Time), TrialId: l.trial, NodeId: line.Node, Rank: line.Rank, Generation: line.Gen, Line: line.Line,
		})
	})
}

// readLog reads the lines of an object.
func readLog(r io.Reader, each func(logLine) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLogLine)
	for lines.Scan() {
		var l logLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return err
		}
		if err := each(l); err != nil {
			return err
		}
	}
	return lines.Err()
}
