package api

import (
	"cmp"
	"slices"

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
