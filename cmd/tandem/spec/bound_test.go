package spec

import (
	"runtime"
	"strings"
	"testing"
)

// TestMemoryIsBounded: no text of the size that a spec may have makes Parse allocate more than a small machine has. Without a bound on the
// depth, 100,000 brackets take 6.5 GB.
func TestMemoryIsBounded(t *testing.T) {
	const most = 400 << 20 // bytes, of all that was ever allocated
	for unit, want := range map[string]string{
		"[": "too deep", "- ": "too deep", "{a: ": "too deep", "a: ": "too deep", "&a ": "too deep", "[[],": "too deep", "a: b\n": "words and marks", "a,": "wants keys",
	} {
		text := []byte(strings.Repeat(unit, MaxBytes/len(unit)))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Parse("s", text, nil)
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.5q ...: %.200v, want %q", text, err, want)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > most {
			t.Errorf("%.5q ...: %d MiB allocated", text, took>>20)
		}
	}
}

// TestDepth: what is as deep as allowed is read, what is deeper is refused, however it is written, in the file and in --set.
func TestDepth(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, tc := range []struct {
		text string
		deep bool
	}{
		{"name: " + deep(maxDepth), false}, {"name: " + deep(maxDepth+1), true},
		{"name:\n" + strings.Repeat(" ", maxIndent) + "- a", true},
		{"name: '" + deep(maxDepth+1) + "'", false}, {"# " + deep(maxDepth+1) + "\nname: x", false}, // no brackets, but text
		{"name: {" + strings.Repeat("a: {", maxDepth), true},
		{"name: [" + strings.Repeat("[a, b], ", 2*maxDepth) + "]", false}, // side by side
	} {
		_, err := Parse("s", []byte(tc.text), nil)
		if got := err != nil && strings.Contains(err.Error(), "too deep"); got != tc.deep {
			t.Errorf("%.60q: %.200v, too deep: %v", tc.text, err, tc.deep)
		}
	}
	if _, err := Parse("s", nil, []string{"training.batch=" + deep(100_000)}); err == nil {
		t.Error("--set with 100,000 brackets is taken")
	}
}
