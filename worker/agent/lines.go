package agent

import (
	"bytes"
	"sync"
	"unicode/utf8"
)

// maxLine is the longest log line kept, in bytes; longer ones are cut.
const maxLine = 8 << 10

// lineWriter cuts a stream of bytes into lines and hands on each, without its end and with at most maxLine bytes.
type lineWriter struct {
	emit func(line string)

	mu   sync.Mutex
	part []byte // of the line that has not ended; at most maxLine
	over bool   // the line is longer than that
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			w.keep(p)
			return n, nil
		}
		w.keep(p[:i])
		w.end()
		p = p[i+1:]
	}
}

// flush hands on a last line that has no end.
func (w *lineWriter) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.part) > 0 {
		w.end()
	}
}

func (w *lineWriter) keep(p []byte) {
	room := maxLine - len(w.part)
	if len(p) > room {
		p, w.over = p[:room], true
	}
	w.part = append(w.part, p...)
}

func (w *lineWriter) end() {
	line := bytes.TrimSuffix(w.part, []byte("\r"))
	text := string(bytes.ToValidUTF8(line, []byte(string(utf8.RuneError))))
	if w.over {
		text += "…"
	}
	w.part, w.over = w.part[:0], false
	w.emit(text)
}

// tail keeps the last lines.
type tail struct {
	limit int
	mu    sync.Mutex
	lines []string
}

func (t *tail) add(line string) {
	const short = 500 // bytes: the lines go into a message for people
	if len(line) > short {
		line = string(bytes.ToValidUTF8([]byte(line[:short]), nil)) + "…"
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, line)
	if len(t.lines) > t.limit {
		t.lines = append([]string(nil), t.lines[1:]...)
	}
}

func (t *tail) last() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string(nil), t.lines...)
}
