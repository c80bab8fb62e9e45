package consensus

import (
	"fmt"
	"io"
	"log"
	"slices"

	"github.com/hashicorp/go-hclog"
	"github.com/rs/zerolog"
)

// raftLog lets Raft write into a zerolog logger.
type raftLog struct {
	to   zerolog.Logger
	name string
	args []any
}

func (l *raftLog) Log(level hclog.Level, msg string, args ...any) {
	if level < l.GetLevel() {
		return
	}
	l.to.WithLevel(zerologLevel(level)).Str("part", "raft").Fields(plain(slices.Concat(l.args, args))).Msg(msg)
}

// plain writes out what Raft leaves to its own logger: formats, and values that know how to write themselves.
func plain(args []any) []any {
	for i, a := range args {
		switch a := a.(type) {
		case hclog.Format:
			if format, ok := a[0].(string); ok {
				args[i] = fmt.Sprintf(format, a[1:]...)
			}
		case error: // zerolog does that
		case fmt.Stringer:
			args[i] = fmt.Sprint(a) // which copes with nil
		}
	}
	return args
}

func zerologLevel(level hclog.Level) zerolog.Level {
	switch level {
	case hclog.Trace:
		return zerolog.TraceLevel
	case hclog.Info:
		return zerolog.InfoLevel
	case hclog.Warn:
		return zerolog.WarnLevel
	case hclog.Error:
		return zerolog.ErrorLevel
	}
	return zerolog.DebugLevel
}

func (l *raftLog) Trace(msg string, args ...any) { l.Log(hclog.Trace, msg, args...) }
func (l *raftLog) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }
func (l *raftLog) Info(msg string, args ...any)  { l.Log(hclog.Info, msg, args...) }
func (l *raftLog) Warn(msg string, args ...any)  { l.Log(hclog.Warn, msg, args...) }
func (l *raftLog) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }

func (l *raftLog) IsTrace() bool { return l.GetLevel() <= hclog.Trace }
func (l *raftLog) IsDebug() bool { return l.GetLevel() <= hclog.Debug }
func (l *raftLog) IsInfo() bool  { return l.GetLevel() <= hclog.Info }
func (l *raftLog) IsWarn() bool  { return l.GetLevel() <= hclog.Warn }
func (l *raftLog) IsError() bool { return l.GetLevel() <= hclog.Error }

func (l *raftLog) ImpliedArgs() []any { return l.args }

func (l *raftLog) With(args ...any) hclog.Logger {
	return &raftLog{to: l.to, name: l.name, args: slices.Concat(l.args, args)}
}

func (l *raftLog) Name() string { return l.name }

func (l *raftLog) Named(name string) hclog.Logger { return l.ResetNamed(name) }

func (l *raftLog) ResetNamed(name string) hclog.Logger {
	return &raftLog{to: l.to, name: name, args: l.args}
}

// SetLevel does nothing: the level is the zerolog logger's.
func (l *raftLog) SetLevel(hclog.Level) {}

func (l *raftLog) GetLevel() hclog.Level {
	switch level := l.to.GetLevel(); {
	case level <= zerolog.TraceLevel:
		return hclog.Trace
	case level == zerolog.DebugLevel:
		return hclog.Debug
	case level == zerolog.InfoLevel:
		return hclog.Info
	case level == zerolog.WarnLevel:
		return hclog.Warn
	case level <= zerolog.PanicLevel:
		return hclog.Error
	}
	return hclog.Off
}

func (l *raftLog) StandardLogger(opts *hclog.StandardLoggerOptions) *log.Logger {
	return log.New(l.StandardWriter(opts), "", 0)
}

func (l *raftLog) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return l.to }
