package engine

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"tandem.dev/worker/data"
)

// ledgerEnv names a folder in which each engine writes down the rows of every step that it applied. It is for tests,
// which prove with it that no row is left out or used twice.
const ledgerEnv = "TANDEM_LEDGER"

// ledgerLine is one step that one rank applied.
type ledgerLine struct {
	Generation int64   `json:"gen"`
	Step       int64   `json:"step"`
	Rank       int     `json:"rank"`
	World      int     `json:"world"`
	Rows       []int32 `json:"rows"`
	At         int64   `json:"at"` // when it was applied, in Unix nanoseconds
}

// ledger implements train.Ledger.
type ledger struct {
	file *os.File
	err  error // the first
}

// openLedger returns the ledger of a trial's engine; nil where none is asked for.
func openLedger(trial, engine string) (*ledger, error) {
	dir := os.Getenv(ledgerEnv)
	if dir == "" {
		return nil, nil
	}
	name := filepath.Join(dir, fmt.Sprintf("%s-%s.jsonl", trial, filepath.Base(engine)))
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // the folder of a test
	if err != nil {
		return nil, fmt.Errorf("open the ledger that %s asks for: %w", ledgerEnv, err)
	}
	return &ledger{file: f}, nil
}

// Applied writes a line at once: the process may be killed at any time.
func (l *ledger) Applied(generation, step int64, rank, world int, share data.Piece) {
	b, err := json.Marshal(ledgerLine{generation, step, rank, world, share.Index, time.Now().UnixNano()})
	if err == nil {
		_, err = l.file.Write(append(b, '\n'))
	}
	if l.err == nil {
		l.err = err
	}
}
