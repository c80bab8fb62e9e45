package state

import (
	"errors"
	"fmt"
	"strings"

	"github.com/agnivade/levenshtein"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"tandem.dev/proto/say"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// ErrNotFound says that no row answers to what was asked for.
var ErrNotFound = errors.New("not found")

// ErrAmbiguous says that more than one row does.
var ErrAmbiguous = errors.New("ambiguous")

// Unresolved is the error of a reference that does not stand for one row. It is ErrNotFound or ErrAmbiguous.
type Unresolved struct {
	// Why is what is wrong with the reference, for programs and in the words of each face.
	Why  *tandemv1.Reason
	kind error
}

// Error implements error.
func (e *Unresolved) Error() string { return say.Clause(e.Why, say.Plain) }

// Unwrap returns ErrNotFound or ErrAmbiguous.
func (e *Unresolved) Unwrap() error { return e.kind }

// Missing is the error of a name or an id of a noun that does not exist.
func Missing(noun, name string) error { return missing(noun, name, "") }

// missing is Missing with the name that was probably meant; empty where none is near.
func missing(noun, name, near string) error {
	r := NewReason(tandemv1.Reason_CODE_NOT_FOUND, "noun", noun, "name", name)
	if near != "" {
		r.Args["near"] = near
	}
	return &Unresolved{r, ErrNotFound}
}

// maxListed is how many candidates an error lists.
const maxListed = 5

// ambiguous is the error of a reference that may stand for several things.
func ambiguous(noun, ref string, candidates []string) error {
	text := strings.Join(candidates[:min(len(candidates), maxListed)], ", ")
	if more := len(candidates) - maxListed; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return &Unresolved{NewReason(tandemv1.Reason_CODE_AMBIGUOUS, "noun", noun, "name", ref, "candidates", text), ErrAmbiguous}
}

const (
	// maxMistaken is how many letters of a name may be wrong for it to be taken for another.
	maxMistaken = 2
	// maxNear is how long a name is that others are compared with; names of users are not longer.
	maxNear = 63
)

// near is the name of the row that was probably meant by ref; of equally near ones the first. It is empty where none is near.
func near[T proto.Message](ref string, rows []T) (name string) {
	if len(ref) > maxNear || len(rows) == 0 {
		return ""
	}
	f := rows[0].ProtoReflect().Descriptor().Fields().ByName("name")
	if f == nil || f.Kind() != protoreflect.StringKind {
		return ""
	}
	fewest := min(maxMistaken, len(ref)-1) + 1
	seen := map[string]bool{}
	for _, row := range rows {
		other := row.ProtoReflect().Get(f).String()
		if seen[other] {
			continue
		}
		seen[other] = true
		if n := levenshtein.ComputeDistance(strings.ToLower(ref), strings.ToLower(other)); n < fewest {
			name, fewest = other, n
		}
	}
	return name
}
