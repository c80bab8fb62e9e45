package serve

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// parameters are those of a request, a tensor or an output, by their names.
type parameters map[string]json.RawMessage

// refused are the parameters of extensions that are not spoken, which would make the answer another one, with what to do instead. All
// others that are not known are passed over: hints such as priority, and words of clients to each other.
func refused(name string) string {
	switch name {
	case "classification":
		return "the classes are in the outputs label and probabilities"
	case "shared_memory_region", "shared_memory_offset", "shared_memory_byte_size":
		return "send the data with the request"
	case "sequence_id", "sequence_start", "sequence_end":
		return "a model keeps nothing from one request to the next"
	}
	return ""
}

// known refuses what would be ignored though the answer depends on it.
func (p parameters) known(place string) error {
	for _, name := range slices.Sorted(maps.Keys(p)) {
		if instead := refused(name); instead != "" {
			return fmt.Errorf("%s has %s, which is not supported: %s", place, name, instead)
		}
	}
	return nil
}

func (p parameters) flag(place, name string) (on, given bool, err error) {
	text, given := p[name]
	if !given {
		return false, false, nil
	}
	switch string(text) {
	case "true":
		return true, true, nil
	case "false":
		return false, true, nil
	}
	return false, true, fmt.Errorf("%s.%s is %.40s; it must be true or false", place, name, text)
}

func (p parameters) size(place, name string) (n int64, given bool, err error) {
	text, given := p[name]
	if given && json.Unmarshal(text, &n) != nil || n < 0 || string(text) == "null" {
		return 0, true, fmt.Errorf("%s.%s is %.40s; it must be a number of bytes", place, name, text)
	}
	return n, given, nil
}
