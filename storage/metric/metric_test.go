package metric

import (
	"bytes"
	"compress/gzip"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"tandem.dev/storage"
	"tandem.dev/storage/layout"
)

func header(kind Kind) Header {
	return Header{
		Format: format, Version: version, Kind: kind, Trial: "trial-1", Member: "alloc-1/0", Node: "node-1",
		Generation: 2, Rank: 1, World: 4, Seq: 7, Begin: 1_700_000_000_123_456_789, Due: 4 * time.Second,
	}
}

func segments() []Segment {
	loss := 0.1
	beats, steps, spans := Segment{Header: header(Beats)}, Segment{Header: header(Steps)}, Segment{Header: header(Spans)}
	beats.Last, beats.Lost = true, 3
	beats.Beats = []Beat{
		{From: beats.Begin, Times: Times{Starting: time.Second}},
		{From: beats.Begin + 1e9, Times: Times{Forward: 5, Backward: 7, Lost: 1}, First: 10, Step: 12, Epoch: 0.5, Rows: 64, Loss: &loss, LR: 1e-3, Norm: &loss},
	}
	beats.Evaluations = []Evaluation{{Time: beats.Begin, Step: 12, Epoch: 0.5, Metrics: map[string]float64{"loss": 0.25, "accuracy": 1}}}
	steps.Runs = []Run{{First: 11, Loss: Floats{0.1, math.Nextafter(0.1, 1), math.NaN()}, Norm: Floats{1, math.SmallestNonzeroFloat64, math.MaxFloat64}}}
	spans.Spans = []Span{{Step: 12, Of: Communication, Begin: spans.Begin, Length: 12345}}
	return []Segment{beats, steps, spans}
}

// same compares float64 by their bits, but for NaN.
var same = cmp.Options{cmpopts.EquateNaNs(), cmpopts.EquateEmpty()}

func TestRoundTrip(t *testing.T) {
	for _, want := range segments() {
		b, err := Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, same); d != "" {
			t.Error(d)
		}
	}
}

// TestExact: any finite float64 comes back with the same bits.
func TestExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bits := rapid.SliceOfN(rapid.Uint64(), 1, 20).Draw(t, "bits")
		s := Segment{Header: header(Steps), Runs: []Run{{First: 1}}}
		for _, b := range bits {
			s.Runs[0].Loss = append(s.Runs[0].Loss, math.Float64frombits(b))
			s.Runs[0].Norm = append(s.Runs[0].Norm, math.Float64frombits(^b))
		}
		b, err := Encode(s)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		for i, b := range bits {
			v := math.Float64frombits(b)
			if back := got.Runs[0].Loss[i]; math.IsNaN(v) || math.IsInf(v, 0) {
				if !math.IsNaN(back) {
					t.Errorf("%v came back as %v", v, back)
				}
			} else if math.Float64bits(back) != b {
				t.Errorf("%x came back as %x", b, math.Float64bits(back))
			}
		}
	})
}

func TestKey(t *testing.T) {
	h := header(Beats)
	key := Key(h)
	if want := "trials/trial-1/metrics/beats/1700000000123-g2-r1-alloc-1-0-000007.jsonl.gz"; key != want {
		t.Errorf("key %s, want %s", key, want)
	}
	if err := storage.CheckKey(key); err != nil {
		t.Error(err)
	}
	want := Name{Key: key, Begin: time.UnixMilli(1_700_000_000_123), Generation: 2, Rank: 1, Member: "alloc-1-0", Seq: 7}
	if got, ok := ParseKey(key); !ok || got != want {
		t.Errorf("%+v, %v", got, ok)
	}
	h.Rank, h.World, h.Kind = -1, 0, Spans
	if got, ok := ParseKey(Key(h)); !ok || got.Rank != -1 || !strings.HasPrefix(got.Key, layout.Metrics("trial-1", string(Spans))) {
		t.Errorf("%+v, %v", got, ok)
	}
	for _, key := range []string{
		"", "trials/trial-1/metrics/beats/", "trials/trial-1/logs/1700000000123-g2-r1-a-000007.jsonl.gz", "trials/trial-1/metrics/beats/1700000000123-g2-r1-a-000007.jsonl",
		"trials/trial-1/metrics/beats/1700000000123-g2-rank-a-000007.jsonl.gz",
	} {
		if got, ok := ParseKey(key); ok {
			t.Errorf("%q is read as %+v", key, got)
		}
	}
}

// pack makes an object of lines.
func pack(lines ...string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	for _, l := range lines {
		_, _ = z.Write([]byte(l + "\n"))
	}
	_ = z.Close()
	return b.Bytes()
}

const good = `{"format":"tandem-metrics","format_version":1,"kind":"beats","trial":"t","member":"m","generation":1,"rank":0,"world":1,"seq":0,"begin":1,"due_ns":1}`

func TestRefused(t *testing.T) {
	if _, err := Decode(pack(good, `{"beat":{"from":5,"times":{"data":3},"first":1,"step":2}}`)); err != nil {
		t.Fatal(err)
	}
	for name, lines := range map[string][]string{
		"nothing":          {},
		"another version":  {strings.Replace(good, `version":1`, `version":2`, 1)},
		"another format":   {strings.Replace(good, "tandem-metrics", "other", 1)},
		"an unknown kind":  {strings.Replace(good, "beats", "notes", 1)},
		"rank 1 of 1":      {strings.Replace(good, `"rank":0`, `"rank":1`, 1)},
		"a strange field":  {good, `{"beat":{"from":5,"times":{},"first":1,"step":2,"more":1}}`},
		"two records":      {good, `{"beat":{"from":5,"times":{},"first":1,"step":2},"span":{"step":1,"of":"data","begin":1,"ns":1}}`},
		"no record":        {good, `{}`},
		"two values":       {good, `{"beat":{"from":5,"times":{},"first":1,"step":2}} {}`},
		"another kind":     {good, `{"span":{"step":1,"of":"data","begin":1,"ns":1}}`},
		"negative time":    {good, `{"beat":{"from":5,"times":{"data":-3},"first":1,"step":2}}`},
		"unknown category": {good, `{"beat":{"from":5,"times":{"date":3},"first":1,"step":2}}`},
		"steps backwards":  {good, `{"beat":{"from":5,"times":{},"first":3,"step":2}}`},
		"half a line":      {good, `{"beat":{"from":5`},
	} {
		if _, err := Decode(pack(lines...)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b := pack(good)
	if _, err := Decode(b[:len(b)-9]); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a torn object: %v", err)
	}
	if _, err := Encode(Segment{Header: Header{Kind: Beats}}); err == nil {
		t.Error("a segment of nobody was encoded")
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range segments() {
		b, err := Encode(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(pack(good))
	f.Add([]byte{0x1f, 0x8b})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Decode(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("not ErrCorrupt: %v", err)
			}
			return
		}
		checkAgain(t, s)
	})
}

// FuzzLines fuzzes what is inside of the gzip, which FuzzDecode seldom gets into.
func FuzzLines(f *testing.F) {
	f.Add(good + "\n" + `{"beat":{"from":5,"times":{"data":3},"first":1,"step":2,"loss":1e300}}`)
	f.Add(strings.Replace(good, "beats", "steps", 1) + "\n" + `{"run":{"first":1,"loss":[1,null],"norm":[2,3e-320]}}`)
	f.Add(strings.Replace(good, "beats", "spans", 1) + "\n" + `{"span":{"step":1,"of":"data","begin":1,"ns":1}}`)
	f.Fuzz(func(t *testing.T, lines string) {
		if s, err := Decode(pack(lines)); err == nil {
			checkAgain(t, s)
		}
	})
}

// checkAgain: what was accepted can be written, and is then read as the same.
func checkAgain(t *testing.T, s Segment) {
	t.Helper()
	b, err := Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(s, again, same); d != "" {
		t.Error(d)
	}
	for _, b := range s.Beats {
		if b.To() < b.From {
			t.Errorf("beat from %d to %d", b.From, b.To())
		}
	}
}
