package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a child to be kept.
type Process struct {
	Name string // of the log file, and for people
	Path string // of the program
	Args []string
	Env  []string
}

// Starter starts a process, in a group of its own, that cannot outlive this program: worker/child has it.
type Starter interface {
	Start(*exec.Cmd) error
}

// Keeper starts children and keeps them. Make it with NewKeeper.
type Keeper struct {
	starter Starter
	logs    string
	line    func(name string, line []byte)
	grace   time.Duration
}

// NewKeeper keeps children whose output goes to files in the folder logs; line gets each line of it as well. A child
// that is stopped has grace to end by itself.
func NewKeeper(starter Starter, logs string, grace time.Duration, line func(name string, line []byte)) (*Keeper, error) {
	if err := os.MkdirAll(logs, 0o700); err != nil {
		return nil, hint(logs, err)
	}
	return &Keeper{starter: starter, logs: logs, line: line, grace: grace}, nil
}

// Child is a process that was started.
type Child struct {
	Name string
	keep *Keeper
	cmd  *exec.Cmd
	done chan struct{}
	err  error
	tail *tail
}

// Start starts a child once.
func (k *Keeper) Start(p Process) (*Child, error) {
	log, err := openLog(filepath.Join(k.logs, p.Name+".log"))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(p.Path, p.Args...)
	cmd.Env = p.Env
	r, w, err := os.Pipe()
	if err != nil {
		_ = log.Close()
		return nil, fmt.Errorf("start %s: %w", p.Name, err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	err = k.starter.Start(cmd)
	_ = w.Close()
	if err != nil {
		_, _ = log.Close(), r.Close()
		return nil, fmt.Errorf("start %s: %w", p.Name, err)
	}
	c := &Child{Name: p.Name, keep: k, cmd: cmd, done: make(chan struct{}), tail: &tail{}}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer log.Close()
		defer r.Close()
		c.read(r, log)
	}()
	go func() {
		c.err = cmd.Wait()
		// What children of the child still write must not hold us up.
		_ = r.SetReadDeadline(time.Now().Add(time.Second))
		<-read
		close(c.done)
	}()
	return c, nil
}

// read copies lines to the log and shows them to whoever wants to know.
func (c *Child) read(r io.Reader, log io.Writer) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		if !routine(s.Text()) {
			c.tail.add(s.Text())
		}
		// A log that cannot be written, as on a full disk, must not stop the child.
		_, _ = fmt.Fprintf(log, "%s\n", s.Bytes())
		c.keep.line(c.Name, s.Bytes())
	}
	_, _ = io.Copy(io.Discard, r)
}

// routine lines of a log say nothing about why a child ended.
func routine(line string) bool {
	return strings.Contains(line, `"level":"info"`) || strings.Contains(line, `"level":"debug"`)
}

// Done is closed when the child has ended.
func (c *Child) Done() <-chan struct{} { return c.done }

// Err says how the child ended, with the last it said; call it after Done. It wraps the *exec.ExitError.
func (c *Child) Err() error {
	if c.err == nil {
		return fmt.Errorf("%s: it ended by itself%s", c.Name, c.tail.text())
	}
	return fmt.Errorf("%s: %w%s", c.Name, c.err, c.tail.text())
}

// Stop asks the child to end, and makes it end when its grace is over.
func (c *Child) Stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	t := time.NewTimer(c.keep.grace)
	defer t.Stop()
	select {
	case <-c.done:
	case <-t.C:
		_ = c.cmd.Process.Kill()
		<-c.done
	}
}

// Keep starts a child and starts it again whenever it ends, after a pause that grows, until the context ends; then it
// stops the child. It returns an error only when the child could not be started the first time. first gets the first
// child, ended what became of each that ended by itself, and says whether another start may mend that.
func (k *Keeper) Keep(ctx context.Context, p Process, first func(*Child), ended func(error, time.Duration) (again bool)) error {
	const shortest, longest, healthy = time.Second, 30 * time.Second, time.Minute
	pause := shortest
	for n := 0; ; n++ {
		begun := time.Now()
		c, err := k.Start(p)
		if n == 0 {
			if err != nil {
				return err
			}
			first(c)
		}
		if err == nil {
			select {
			case <-ctx.Done():
				c.Stop()
				return nil
			case <-c.done:
				err = c.Err()
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(begun) > healthy {
			pause = shortest
		}
		if !ended(err, pause) {
			return nil
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-t.C:
		}
		pause = min(2*pause, longest)
	}
}

// maxLog is how long a log may be when its process starts; a longer one becomes <name>.log.1.
const maxLog = 16 << 20

func openLog(path string) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && info.Size() > maxLog {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, fmt.Errorf("turn log over: %w", err)
		}
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, hint(filepath.Dir(path), errors.Unwrap(err))
	}
	return f, nil
}

// tail is the last lines of an output.
type tail struct {
	mu    sync.Mutex
	lines []string
}

const tailLines = 5

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, line)
	if len(t.lines) > tailLines {
		t.lines = t.lines[1:]
	}
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := ""
	for _, l := range t.lines {
		text += "\n  " + l
	}
	return text
}
