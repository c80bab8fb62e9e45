package main

import (
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestFlagsAreGivenOnce: of two values for a flag that holds one, none is dropped without a word; flags that hold many take all.
func TestFlagsAreGivenOnce(t *testing.T) {
	seen := 0
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			_, many := f.Value.(pflag.SliceValue)
			text := f.Value.String()
			if first := cmd.Flags().Set(f.Name, text); first != nil {
				return // its default is not a value, such as an empty time
			}
			switch second := cmd.Flags().Set(f.Name, text); {
			case many || f.Value.Type() == "bool" || f.Value.Type() == "count":
				if second != nil {
					t.Errorf("%s --%s: %v", cmd.CommandPath(), f.Name, second)
				}
			case second == nil:
				t.Errorf("%s --%s: a second value takes the place of the first", cmd.CommandPath(), f.Name)
			default:
				seen++
			}
		})
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	walk((&app{}).root())
	if seen < 100 {
		t.Errorf("only %d flags were looked at", seen)
	}
}
