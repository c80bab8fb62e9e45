package api

import "cmp"

const (
	// Rows of one answer, when nobody says otherwise: of lists that people look at, and of those that programs go through.
	defaultLimit, defaultRows int32 = 100, 1000
	// Rows of one answer at most.
	maxRows = 10_000
)

// rows is how many rows to answer with.
func rows(limit, usual, most int32) (int, error) {
	if limit < 0 {
		return 0, invalid("limit: must not be negative")
	}
	return int(min(cmp.Or(limit, usual), most)), nil
}
