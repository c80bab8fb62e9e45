package inference

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestLimitsAreDocumented: the tables for operators have the limits that are held to.
func TestLimitsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	thousands := fmt.Sprintf("%d,%03d", MaxRows/1000, MaxRows%1000)
	for _, want := range []string{
		fmt.Sprintf("| inference request, unpacked (gzip and deflate) | %d MiB (413) |", MaxBody>>20),
		fmt.Sprintf("| one inference request | %s rows, %d MiB; its answer %d MiB.", thousands, MaxBody>>20, MaxAnswer>>20),
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("docs/operations.md does not say %q", want)
		}
	}
}
