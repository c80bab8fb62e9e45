package consensus

import (
	"fmt"
	"io"
	"log"
	"slices"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"github.com/rs/zerolog"

	"tandem.dev/proto/repeat"
)

// raftLog lets Raft write into a zerolog logger. Raft writes a line for each message that it cannot send, some four a second for a
// peer that is down: what is wrong with one peer, whatever it is, is a line a minute, and so is what is wrong otherwise and repeats.
type raftLog struct {
	to      zerolog.Logger
	name    string
	args    []any
	repeats *repeat.Limiter
	address func(raft.ServerID) raft.ServerAddress // of a peer; empty: not known
}

func (l *raftLog) Log(level hclog.Level, msg string, args ...any) {
	if level < l.GetLevel() {
		return
	}
	args = slices.Concat(l.args, args)
	to := zerologLevel(level)
	if to < zerolog.WarnLevel {
		l.to.WithLevel(to).Str("part", "raft").Fields(plain(args)).Msg(msg)
		return
	}
	l.repeats.At(l.to, to, l.about(msg, args)).Str("part", "raft").Fields(plain(args)).Msg(msg)
}

// about is the peer that a line is about, or the line itself.
func (l *raftLog) about(msg string, args []any) string {
	for i := 1; i < len(args); i += 2 {
		switch key, _ := args[i-1].(string); key {
		case "peer", "server-id", "target", "from":
		default:
			continue
		}
		switch peer := args[i].(type) {
		case raft.Server:
			return string(peer.Address)
		case raft.ServerAddress:
			return string(peer)
		case raft.ServerID:
			if address := l.address(peer); address != "" {
				return string(address)
			}
			return string(peer)
		}
	}
	return msg
}

// addresses finds peers in the configuration of a Raft that may not run yet.
func addresses(running *atomic.Pointer[raft.Raft]) func(raft.ServerID) raft.ServerAddress {
	return func(id raft.ServerID) raft.ServerAddress {
		if r := running.Load(); r != nil {
			for _, s := range r.GetConfiguration().Configuration().Servers {
				if s.ID == id {
					return s.Address
				}
			}
		}
		return ""
	}
}

// plain writes out what Raft leaves to its own logger: formats, peers, and values that know how to write themselves.
func plain(args []any) []any {
	for i, a := range args {
		switch a := a.(type) {
		case hclog.Format:
			if format, ok := a[0].(string); ok {
				args[i] = fmt.Sprintf(format, a[1:]...)
			}
		case raft.Server: // its other lines have the address alone
			args[i] = string(a.Address)
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
	made := *l
	made.args = slices.Concat(l.args, args)
	return &made
}

func (l *raftLog) Name() string { return l.name }

func (l *raftLog) Named(name string) hclog.Logger { return l.ResetNamed(name) }

func (l *raftLog) ResetNamed(name string) hclog.Logger {
	made := *l
	made.name = name
	return &made
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
