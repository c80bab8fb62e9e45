package audit

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
)

// Config of a Log.
type Config struct {
	// Dir is the folder of its files; it is made if it does not exist.
	Dir string
	// Coordinator that keeps it, a node's id.
	Coordinator string
	// SegmentBytes is how large a file grows before it is sealed.
	SegmentBytes int64
	// SegmentAge is how old a file grows before it is sealed.
	SegmentAge time.Duration
	// Keep is how many sealed files that were exported stay on the disk, and a fourth of those that could not be.
	Keep int
}

// DefaultConfig has 8 MiB and an hour a file, of which 8 stay: some half a million entries.
func DefaultConfig() Config { return Config{SegmentBytes: 8 << 20, SegmentAge: time.Hour, Keep: 8} }

// Deps of a Log.
type Deps struct {
	// Store is where sealed files go; it fails until the cluster has said so.
	Store func() (storage.Store, error)
	Log   zerolog.Logger
}

const (
	prefix = "audit-"
	open   = ".jsonl" // this one grows, or waits to be exported
	sent   = ".sent"  // this one was
)

// Log is the audit log of one coordinator.
type Log struct {
	cfg  Config
	deps Deps

	moving   sync.RWMutex // files are renamed and deleted while nobody reads
	mu       sync.Mutex
	file     *os.File
	size     int64
	began    time.Time
	previous string // hash of the last line
	repeats  map[repeat]int64
	lost     int64 // entries that could not be written
}

// repeat is what denied calls that are alike have in common.
type repeat struct{ actor, token, role, address, method, outcome string }

// New opens the log: it goes on with the newest file, whose last line the next one is chained to.
func New(cfg Config, deps Deps) (*Log, error) {
	if cfg.Dir == "" || cfg.SegmentBytes <= 0 || cfg.SegmentAge <= 0 || cfg.Keep <= 0 {
		return nil, errors.New("audit: folder, sizes and ages must be given")
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the audit log: %w", err)
	}
	l := &Log{cfg: cfg, deps: deps, repeats: map[repeat]int64{}}
	files, err := l.files()
	if err != nil {
		return nil, err
	}
	if len(files) > 0 {
		err := scan(files[len(files)-1], func(line []byte) bool {
			l.previous = hash(line)
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	return l, nil
}

// files are all files, oldest first.
func (l *Log) files() ([]string, error) {
	all, err := filepath.Glob(filepath.Join(l.cfg.Dir, prefix+"*"))
	if err != nil {
		return nil, fmt.Errorf("list the audit log: %w", err)
	}
	slices.Sort(all)
	return all, nil
}

// maxLine is the longest line that is read, in bytes: fields of an entry are far shorter.
const maxLine = 64 << 10

// scan calls each for every line of a file until it returns false.
func scan(name string, each func(line []byte) bool) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("read the audit log: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(make([]byte, 0, 4096), maxLine)
	lines.Split(func(data []byte, atEOF bool) (int, []byte, error) {
		advance, line, err := bufio.ScanLines(data, atEOF)
		if advance == 0 && len(data) >= maxLine { // a file that is damaged: it is read in pieces, none of which is an entry
			return len(data), data, nil
		}
		return advance, line, err
	})
	for lines.Scan() && each(lines.Bytes()) {
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read the audit log: %w", err)
	}
	return nil
}

func hash(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:])
}

// denied tells whether an outcome is that of a call that was turned away, of which there may be any number.
func denied(outcome string) bool {
	return outcome == "unauthenticated" || outcome == "permission_denied" || outcome == "resource_exhausted"
}

// Record appends an entry. Time and coordinator are the log's. A denied call that is like another one of the same second is counted.
func (l *Log) Record(e *tandemv1.AuditEntry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if denied(e.GetOutcome()) {
		k := repeat{e.GetActor(), e.GetTokenId(), e.GetRole(), e.GetAddress(), e.GetMethod(), e.GetOutcome()}
		if len(l.repeats) >= maxRepeats {
			k = repeat{outcome: e.GetOutcome(), method: "others"}
		}
		n, again := l.repeats[k]
		l.repeats[k] = n + 1
		if again {
			return
		}
		l.repeats[k] = 0 // the first one is written now, the others of its second when that is over
		if k.method == "others" {
			l.repeats[k] = 1
			return
		}
	}
	l.append(e, time.Now())
}

// maxRepeats is how many kinds of denied calls are told apart in a second; all others are counted together.
const maxRepeats = 20

// flush writes how often denied calls came again.
func (l *Log) flush(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, n := range l.repeats {
		if n > 0 {
			l.append(&tandemv1.AuditEntry{
				Actor: k.actor, TokenId: k.token, Role: k.role, Address: k.address, Method: k.method, Outcome: k.outcome, Count: n,
			}, now)
		}
	}
	clear(l.repeats)
}

// append needs mu.
func (l *Log) append(e *tandemv1.AuditEntry, now time.Time) {
	if err := l.write(e, now); err != nil {
		l.lost++
		l.deps.Log.Error().Err(err).Int64("lost", l.lost).Msg("the audit log cannot be written: calls go on unrecorded; make room in the data folder")
	}
}

func (l *Log) write(e *tandemv1.AuditEntry, now time.Time) error {
	e.Time, e.Coordinator, e.Previous = timestamppb.New(now), l.cfg.Coordinator, l.previous
	line, err := protojson.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode an entry: %w", err)
	}
	if l.file == nil {
		name := filepath.Join(l.cfg.Dir, fmt.Sprintf("%s%020d%s", prefix, now.UnixNano(), open))
		if l.file, err = os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
			l.file = nil
			return fmt.Errorf("make a file: %w", err)
		}
		l.size, l.began = 0, now
	}
	n, err := l.file.Write(append(line, '\n'))
	l.size += int64(n)
	if err != nil {
		l.seal() // half a line may be there: the next one begins a file
		return fmt.Errorf("write an entry: %w", err)
	}
	l.previous = hash(line)
	if l.size >= l.cfg.SegmentBytes {
		l.seal()
	}
	return nil
}

// seal closes the file that grows. It needs mu.
func (l *Log) seal() {
	if l.file != nil {
		if err := l.file.Close(); err != nil {
			l.deps.Log.Error().Err(err).Msg("the audit log was not closed")
		}
		l.file = nil
	}
}

// Lost is how many entries could not be written.
func (l *Log) Lost() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// name of a file without its folder and endings, which is when it began.
func base(file string) string {
	return strings.TrimSuffix(strings.TrimSuffix(filepath.Base(file), sent), open)
}
