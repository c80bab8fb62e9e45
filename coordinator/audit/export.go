package audit

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tandem.dev/storage/layout"
)

// Run counts repeated denials, seals files that are old, and exports them, until ctx ends; then it seals the last one.
func (l *Log) Run(ctx context.Context) error {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	minute := time.NewTicker(time.Minute)
	defer minute.Stop()
	for {
		select {
		case <-ctx.Done():
			l.flush(time.Now())
			l.mu.Lock()
			l.seal()
			l.mu.Unlock()
			return nil
		case now := <-second.C:
			l.flush(now)
		case now := <-minute.C:
			l.mu.Lock()
			if l.file != nil && now.Sub(l.began) >= l.cfg.SegmentAge {
				l.seal()
			}
			l.mu.Unlock()
			if err := l.export(ctx); err != nil && ctx.Err() == nil {
				l.deps.Log.Warn().Err(err).Msg("the audit log was not exported; it stays here until it is")
			}
		}
	}
}

// export copies sealed files to the store and deletes the oldest of those that are no longer needed here.
func (l *Log) export(ctx context.Context) error {
	files, err := l.files()
	if err != nil {
		return err
	}
	l.mu.Lock()
	growing := ""
	if l.file != nil {
		growing = l.file.Name()
	}
	l.mu.Unlock()
	failed := error(nil)
	done, waiting := []string(nil), []string(nil)
	for _, name := range files {
		switch {
		case name == growing:
		case strings.HasSuffix(name, sent):
			done = append(done, name)
		case failed == nil:
			if failed = l.send(ctx, name); failed == nil {
				done = append(done, strings.TrimSuffix(name, open)+sent)
				continue
			}
			fallthrough
		default:
			waiting = append(waiting, name)
		}
	}
	l.moving.Lock()
	defer l.moving.Unlock()
	for _, old := range [][]string{done[:max(0, len(done)-l.cfg.Keep)], waiting[:max(0, len(waiting)-4*l.cfg.Keep)]} {
		for _, name := range old {
			if err := os.Remove(name); err != nil {
				return fmt.Errorf("delete an old file of the audit log: %w", err)
			}
		}
	}
	return failed
}

func (l *Log) send(ctx context.Context, name string) error {
	store, err := l.deps.Store()
	if err != nil {
		return err
	}
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("export the audit log: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("export the audit log: %w", err)
	}
	key := layout.Audit(l.cfg.Coordinator) + base(name) + open
	if err := store.Put(ctx, key, f, info.Size()); err != nil {
		return fmt.Errorf("export the audit log to %s: %w", key, err)
	}
	l.moving.Lock()
	defer l.moving.Unlock()
	if err := os.Rename(name, filepath.Join(l.cfg.Dir, base(name)+sent)); err != nil {
		return fmt.Errorf("export the audit log: %w", err)
	}
	return nil
}
