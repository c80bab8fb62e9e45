package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// logOptions are the flags of programs that stay.
type logOptions struct {
	level  string
	format string
}

func (o *logOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.level, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&o.format, "log-format", "", "json or text; by default text on a terminal")
}

// logger writes to standard error: JSON, or text for people.
func (a *app) logger(o logOptions) (zerolog.Logger, error) {
	level, err := zerolog.ParseLevel(o.level)
	if err != nil || o.level == "" {
		return zerolog.Logger{}, &usageError{fmt.Errorf("unknown log level %q: use debug, info, warn or error", o.level)}
	}
	var w io.Writer
	switch f, isFile := a.err.(*os.File); {
	case o.format == "text", o.format == "" && isFile && term.IsTerminal(int(f.Fd())):
		w = zerolog.ConsoleWriter{Out: a.err, TimeFormat: time.TimeOnly}
	case o.format == "json", o.format == "":
		w = a.err
	default:
		return zerolog.Logger{}, &usageError{fmt.Errorf("unknown log format %q: use json or text", o.format)}
	}
	return zerolog.New(w).Level(level).With().Timestamp().Logger(), nil
}
