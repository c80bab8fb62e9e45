package api

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"
)

const (
	// Rows of one answer, when nobody says otherwise: of lists that people look at, and of those that programs go through.
	defaultLimit, defaultRows int32 = 100, 1000
	// Rows of one answer at most, and bytes of them after which an answer has enough.
	maxRows, maxAnswer = 10_000, 4 << 20
)

// rows is how many rows to answer with.
func rows(limit, usual, most int32) (int, error) {
	if limit < 0 {
		return 0, invalid("limit: must not be negative")
	}
	return int(min(cmp.Or(limit, usual), most)), nil
}

// page is what of these rows goes into one answer, and whether it leaves any out: there are at most limit, and not many bytes of them. It
// has one at least, so that whoever goes on gets somewhere.
func page[T proto.Message](all []T, limit int) (part []T, more bool) {
	size := 0
	for i, row := range all {
		if i == limit || size > maxAnswer {
			return all[:i], true
		}
		size += proto.Size(row)
	}
	return all, false
}

// lastPage is page of rows of which the last ones are wanted.
func lastPage[T proto.Message](all []T, limit int) (part []T, more bool) {
	slices.Reverse(all)
	part, more = page(all, limit)
	slices.Reverse(part)
	return part, more
}

// numberToken is the page token of a list whose rows have numbers.
func numberToken(last int64) string { return strconv.FormatInt(last, 10) }

// startAfter is the number after which a list goes on: the later one of what is asked for and of what a page token says.
func startAfter(after int64, token string) (int64, error) {
	if token == "" {
		return max(0, after), nil
	}
	n, err := strconv.ParseInt(token, 10, 64)
	if err != nil || n < 0 {
		return 0, badToken(token)
	}
	return max(n, after), nil
}

func badToken(token string) error {
	return invalid(fmt.Sprintf("page_token: %q is not a next_page_token of this list", token))
}
