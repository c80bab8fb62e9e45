package spec

import (
	"fmt"
	"regexp"
)

var (
	nameRE   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	numberRE = regexp.MustCompile(`^[0-9]+$`)
	sha256RE = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// NameRule says in an error what IsName wants.
const NameRule = "must be 1 to 63 of a-z, 0-9 and -, not - at the ends"

// IsName says whether a text can name a job, a dataset, a model, a pool or a token.
func IsName(text string) bool { return nameRE.MatchString(text) }

// IsSHA256 says whether a text is a SHA-256 in hexadecimal, as artifacts are named.
func IsSHA256(text string) bool { return sha256RE.MatchString(text) }

// AliasProblem says what is wrong with the name of an alias; empty if nothing is.
func AliasProblem(name string) string {
	switch {
	case !IsName(name):
		return NameRule
	case numberRE.MatchString(name):
		return fmt.Sprintf("%q is a number: numbers name versions", name)
	}
	return ""
}
