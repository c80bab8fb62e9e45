package main

import (
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// once makes the flags of a command, and of those below it, refuse a second value where they hold one: of two files the first would be
// dropped without a word.
func once(cmd *cobra.Command) {
	wrap := func(f *pflag.Flag) {
		_, many := f.Value.(pflag.SliceValue)
		if kind := f.Value.Type(); !many && kind != "bool" && kind != "count" {
			f.Value = &single{Value: f.Value}
		}
	}
	cmd.LocalNonPersistentFlags().VisitAll(wrap)
	cmd.PersistentFlags().VisitAll(wrap)
	for _, c := range cmd.Commands() {
		once(c)
	}
}

// single is a flag that is given at most once.
type single struct {
	pflag.Value
	given bool
}

// Set implements pflag.Value.
func (s *single) Set(text string) error {
	if s.given {
		return errors.New("it is given twice, and holds one value")
	}
	s.given = true
	return s.Value.Set(text)
}
