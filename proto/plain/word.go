package plain

import (
	"strconv"
	"strings"
	"unicode"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Word is the plain word of an enum's value: "running" of JOB_STATE_RUNNING. One that the schema does not know is its number.
func Word(e protoreflect.Enum) string { return word(e.Descriptor(), e.Number()) }

func word(e protoreflect.EnumDescriptor, n protoreflect.EnumNumber) string {
	v := e.Values().ByNumber(n)
	if v == nil {
		return strconv.Itoa(int(n))
	}
	return strings.ToLower(strings.TrimPrefix(string(v.Name()), prefix(e)))
}

// Words are the plain words of an enum in the order of its numbers, without that of 0, which stands for none.
func Words(e protoreflect.EnumDescriptor) []string {
	var words []string
	for i := range e.Values().Len() {
		if n := e.Values().Get(i).Number(); n != 0 {
			words = append(words, word(e, n))
		}
	}
	return words
}

// Number is the value of an enum that a plain word names, or its full name.
func Number(e protoreflect.EnumDescriptor, text string) (protoreflect.EnumNumber, bool) {
	v := e.Values().ByName(protoreflect.Name(text))
	if v == nil && text == strings.ToLower(text) {
		v = e.Values().ByName(protoreflect.Name(prefix(e) + strings.ToUpper(text)))
	}
	if v == nil {
		return 0, false
	}
	return v.Number(), true
}

// prefix is how the names of all values of an enum begin: JOB_STATE_ of JobState.
func prefix(e protoreflect.EnumDescriptor) string {
	var b strings.Builder
	for i, r := range string(e.Name()) {
		if i > 0 && unicode.IsUpper(r) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToUpper(r))
	}
	return b.String() + "_"
}
