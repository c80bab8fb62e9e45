package repeat

import (
	"bytes"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
)

// TestLimiter: a line a minute about each thing, with the count of those that were left out.
func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log, l := zerolog.New(&out), Limiter{}
		l.Warn(log, "b").Msg("b")
		for range 150 {
			l.Error(log, "a").Msg("a")
			time.Sleep(time.Second)
		}
		l.At(log, zerolog.TraceLevel, "b").Msg("b again")
		l.At(log.Level(zerolog.ErrorLevel), zerolog.WarnLevel, "c").Msg("below the level")
		l.Warn(log, "c").Msg("c")
		want := `{"level":"warn","message":"b"}
{"level":"error","message":"a"}
{"level":"error","left_out":59,"message":"a"}
{"level":"error","left_out":59,"message":"a"}
{"level":"trace","message":"b again"}
{"level":"warn","message":"c"}
`
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// TestBounded: a flood of things takes no memory, and forgets first what is silent.
func TestBounded(t *testing.T) {
	var l Limiter
	now := time.Unix(0, 0)
	for i := range 3 * most {
		now = now.Add(every / 10)
		l.Pass("lasting", now)
		if _, ok := l.Pass(fmt.Sprint(i), now); !ok {
			t.Fatalf("thing %d was left out", i)
		}
	}
	if n := len(l.seen); n > most {
		t.Errorf("%d things are remembered", n)
	}
	if _, ok := l.Pass("lasting", now); ok {
		t.Error("what lasts was forgotten")
	}
}
