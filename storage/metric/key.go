package metric

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"tandem.dev/storage/layout"
)

// Name is what the key of a segment tells of it.
type Name struct {
	Key        string
	Begin      time.Time // to the millisecond
	Generation int64
	Rank       int // -1: in no process group
	Member     string
	Seq        int64
}

// Key is the key of a segment. Names are in order of their beginning.
func Key(h Header) string {
	rank := "x"
	if h.Rank >= 0 {
		rank = strconv.Itoa(h.Rank)
	}
	return fmt.Sprintf("%s%013d-g%d-r%s-%s-%06d.jsonl.gz", layout.Metrics(h.Trial, string(h.Kind)), h.Begin/int64(time.Millisecond), h.Generation, rank, plain(h.Member), h.Seq)
}

// plain replaces what a key cannot hold.
func plain(member string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '.', r == '_':
			return r
		}
		return '-'
	}, member)
}

var keyRE = regexp.MustCompile(`^trials/[^/]+/metrics/(?:beats|steps|spans)/(\d{13,16})-g(\d{1,18})-r(x|\d{1,9})-([A-Za-z0-9._-]+)-(\d{6,18})\.jsonl\.gz$`)

// ParseKey is the inverse of Key; false for a key that is none of a segment.
func ParseKey(key string) (Name, bool) {
	m := keyRE.FindStringSubmatch(key)
	if m == nil {
		return Name{}, false
	}
	number := func(s string) int64 { n, _ := strconv.ParseInt(s, 10, 64); return n } // the digits fit
	n := Name{Key: key, Begin: time.UnixMilli(number(m[1])), Generation: number(m[2]), Rank: -1, Member: m[4], Seq: number(m[5])}
	if m[3] != "x" {
		n.Rank = int(number(m[3]))
	}
	return n, true
}
