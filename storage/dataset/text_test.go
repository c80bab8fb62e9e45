package dataset

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tandem.dev/storage/memstore"
)

func textOptions(context int, split Ratio, shard int64) TextOptions {
	return TextOptions{Context: context, Split: split, Limits: Limits{Bytes: 1 << 20, ShardBytes: shard}}
}

// The windows of a split, put together again, are the beginning of its part of the text, and
// no byte is in two splits or missing but for a rest shorter than a window.
func TestTextWindows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		window := rapid.IntRange(2, 9).Draw(t, "context")
		ratio := Ratio{rapid.IntRange(1, 9).Draw(t, "train"), rapid.IntRange(0, 3).Draw(t, "validation"), rapid.IntRange(0, 3).Draw(t, "test")}
		text := rapid.SliceOfN(rapid.Byte(), 1, 400).Draw(t, "text")
		s := memstore.New(memstore.Config{})
		m, err := FromText(t.Context(), bytes.NewReader(text), textOptions(window, ratio, 40), sinkTo(t.Context(), s))
		sum := ratio[0] + ratio[1] + ratio[2]
		from, short := 0, false
		var parts [3][]byte
		for i, upTo := range []int{ratio[0], ratio[0] + ratio[1], sum} {
			to := len(text) * upTo / sum
			parts[i] = text[from:to]
			short = short || ratio[i] > 0 && to-from <= window
			from = to
		}
		if err != nil {
			if !short {
				t.Fatal(err)
			}
			return
		}
		if err := copyDataset(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		d, err := Open(t.Context(), s, "datasets/d")
		if err != nil {
			t.Fatal(err)
		}
		total := int64(0)
		for i, name := range splitNames() {
			tab, err := d.Split(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			total += int64(tab.Rows)
			var again []byte
			for row := range slices.Chunk(tab.Text, window+1) {
				if len(again) > 0 && again[len(again)-1] != row[0] {
					t.Fatalf("%s: a window does not begin where the one before ends", name)
				}
				again = append(again[:max(0, len(again)-1)], row...)
			}
			if !bytes.HasPrefix(parts[i], again) || len(parts[i])-len(again) > window {
				t.Fatalf("%s is %q, of %q", name, again, parts[i])
			}
		}
		if total != m.Source.Rows || m.Source.Bytes != int64(len(text)) || m.Outputs() != 256 || !slices.Equal(m.OutputShape(), []int64{256, int64(window)}) {
			t.Fatalf("manifest %+v", m)
		}
	})
}

func TestTextErrors(t *testing.T) {
	sink := func(string, []byte) error { return nil }
	for _, c := range []struct {
		text, want string
		options    TextOptions
	}{
		{"", "the file is empty", textOptions(4, Ratio{1, 0, 0}, 64)},
		{"abcd", "train split of 1/0/0 has 4 of the 4 bytes, but a window takes 4", textOptions(4, Ratio{1, 0, 0}, 64)},
		{strings.Repeat("x", 40), "validation split", textOptions(4, Ratio{90, 10, 0}, 64)},
		{"abcdefgh", "--context", textOptions(1, Ratio{1, 0, 0}, 64)},
		{"abcdefgh", "--context", textOptions(0, Ratio{1, 0, 0}, 64)},
		{"abcdefgh", "training needs a part", textOptions(4, Ratio{0, 1, 0}, 64)},
		{strings.Repeat("x", 2000), "more than the 1000 bytes", TextOptions{Context: 4, Split: Ratio{1, 0, 0}, Limits: Limits{Bytes: 1000, ShardBytes: 64}}},
	} {
		_, err := FromText(t.Context(), strings.NewReader(c.text), c.options, sink)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.10q: %v, want %q", c.text, err, c.want)
		}
	}
	full := errors.New("disk full")
	if _, err := FromText(t.Context(), strings.NewReader("abcdefgh"), textOptions(2, Ratio{1, 0, 0}, 64), func(string, []byte) error { return full }); !errors.Is(err, full) {
		t.Errorf("a sink that fails: %v", err)
	}
}
