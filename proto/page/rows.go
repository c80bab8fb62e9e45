package page

import (
	"slices"

	"google.golang.org/protobuf/proto"
)

// MaxBytes of rows after which an answer has enough.
const MaxBytes = 4 << 20

// First is what of these rows goes into one answer, and whether it leaves any out: there are at most limit, and not many bytes of them. It
// has one at least, so that whoever goes on gets somewhere.
func First[T proto.Message](all []T, limit int) (part []T, more bool) {
	size := 0
	for i, row := range all {
		if i == limit || size > MaxBytes {
			return all[:i], true
		}
		size += proto.Size(row)
	}
	return all, false
}

// Last is First of rows of which the last ones are wanted.
func Last[T proto.Message](all []T, limit int) (part []T, more bool) {
	slices.Reverse(all)
	part, more = First(all, limit)
	slices.Reverse(part)
	return part, more
}
