package sealed

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type doc struct {
	Name string         `json:"name"`
	N    int64          `json:"n"`
	M    map[string]int `json:"m,omitempty"`
}

// golden was made by hand with sha256sum from the description in the package comment.
const golden = `{"body":{"name":"a<b","n":9007199254740993,"m":{"x":1,"y":2}},"sha256":"` +
	`7dd10ce92865d5de44e90a559d351c1418ba1a20359b59d47896e14eb5e87fe5"}` + "\n"

func sample() doc { return doc{Name: "a<b", N: 1<<53 + 1, M: map[string]int{"y": 2, "x": 1}} }

func TestGolden(t *testing.T) {
	b, err := Marshal(sample())
	if err != nil || string(b) != golden {
		t.Errorf("%s, %v; want %s", b, err, golden)
	}
	var d doc
	if err := Unmarshal([]byte(golden), &d); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample(), d); diff != "" {
		t.Error(diff)
	}
}

func TestEveryBit(t *testing.T) {
	b := []byte(golden)
	for i := range 8 * len(b) {
		b[i/8] ^= 1 << (i % 8)
		var d doc
		if err := Unmarshal(b, &d); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("bit %d inverted: %v", i, err)
		}
		b[i/8] ^= 1 << (i % 8)
	}
	for n := range len(b) {
		var d doc
		if err := Unmarshal(b[:n], &d); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
}

// Documents whose hash is right but that Marshal would not write.
func TestNotCanonical(t *testing.T) {
	type wide struct {
		Name  string `json:"name"`
		N     int64  `json:"n"`
		Extra int    `json:"extra"`
	}
	b, err := Marshal(wide{Extra: 1})
	if err != nil {
		t.Fatal(err)
	}
	var d doc
	if err := Unmarshal(b, &d); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "extra") {
		t.Errorf("unknown field: %v", err)
	}
	for _, v := range []any{
		struct {
			N    int64  `json:"n"`
			Name string `json:"name"`
		}{}, // another order
		struct {
			Name string `json:"NAME"`
			N    int64  `json:"n"`
		}{}, // another case
		struct {
			Name string         `json:"name"`
			N    int64          `json:"n"`
			M    map[string]int `json:"m"`
		}{}, // a null that is left out
	} {
		b, err := Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := Unmarshal(b, &doc{}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", b, err)
		}
	}
	for _, v := range []any{[]int{1}, "text", 7, nil, math.NaN()} {
		if b, err := Marshal(v); err == nil {
			t.Errorf("sealed %v as %s", v, b)
		}
	}
}

func TestParse(t *testing.T) {
	b, err := Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	fine := func(doc) error { return nil }
	if got, err := Parse(b, len(b), fine); err != nil || !cmp.Equal(got, sample()) {
		t.Errorf("%+v, %v", got, err)
	}
	bad := errors.New("a name with a bracket")
	for want, parse := range map[string]func() (doc, error){
		"at most":             func() (doc, error) { return Parse(b, len(b)-1, fine) },
		"not a sealed":        func() (doc, error) { return Parse(b[1:], len(b), fine) },
		"name with a bracket": func() (doc, error) { return Parse(b, len(b), func(doc) error { return bad }) },
	} {
		if got, err := parse(); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), want) || got.Name != "" {
			t.Errorf("%+v, %v; want %q", got, err, want)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte(golden))
	f.Add([]byte(`{"body":{},"sha256":"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}` + "\n"))
	f.Add([]byte(head + middle + tail))
	f.Add([]byte(strings.Repeat("[", 10000)))
	f.Fuzz(func(t *testing.T, b []byte) {
		var d doc
		if Unmarshal(b, &d) != nil {
			return
		}
		again, err := Marshal(d)
		if err != nil || string(again) != string(b) {
			t.Errorf("%q was read, but is written as %q (%v)", b, again, err)
		}
	})
}
