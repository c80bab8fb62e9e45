package page

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// List is a list that is answered in pages. Its name begins its tokens.
type List string

// The lists.
const (
	Jobs        List = "jobs"
	Trials      List = "trials"
	SweepEvents List = "sweep-events"
	Events      List = "events"
	Audit       List = "audit"
)

// ErrToken says that a text is not a token of a list.
var ErrToken = errors.New("is not a page token of this list: take the next_page_token of an answer, or none to begin anew")

// places is what a token of each list has behind the name.
var places = map[List]*regexp.Regexp{
	Jobs:        regexp.MustCompile(`^\d{20}\.\d{9}/[0-9a-z-]+$`), // see state.JobPage
	Trials:      regexp.MustCompile(`^\d{1,18}$`),
	SweepEvents: regexp.MustCompile(`^\d{1,18}$`),
	Events:      regexp.MustCompile(`^\d{20}\.\d{3,}$`), // the id of an event
	Audit:       regexp.MustCompile(`^\d{1,19}/[^/]+/[0-9a-f]*$`),
}

// Token is the page token for what comes after a place.
func (l List) Token(place string) string { return string(l) + ":" + place }

// Number is Token for a list whose rows have numbers.
func (l List) Number(last int64) string { return l.Token(strconv.FormatInt(last, 10)) }

// Place is the place that a token stands for; "" without a token. ErrToken.
func (l List) Place(token string) (string, error) {
	if token == "" {
		return "", nil
	}
	place, ours := strings.CutPrefix(token, string(l)+":")
	if !ours || !l.Has(place) {
		return "", fmt.Errorf("page_token: %q %w", token, ErrToken)
	}
	return place, nil
}

// Has says whether a text can be a place in the list.
func (l List) Has(place string) bool { return places[l].MatchString(place) }

// After is the number after which a list goes on: the later one of what is asked for and of what a token says. ErrToken.
func (l List) After(after int64, token string) (int64, error) {
	place, err := l.Place(token)
	if err != nil || place == "" {
		return max(0, after), err
	}
	n, err := strconv.ParseInt(place, 10, 64)
	return max(n, after), err
}
