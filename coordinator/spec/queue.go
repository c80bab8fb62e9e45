package spec

import (
	"maps"
	"slices"
	"unicode"
	"unicode/utf8"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// CheckUpdate checks what a job is to have from now on. What is wrong comes as an *Error.
func CheckUpdate(r *tandemv1.UpdateJobRequest) error {
	c := &check{}
	if r.Priority != nil {
		c.priority(r.GetPriority())
	}
	if r.Pool != nil {
		c.pool("pool", r.GetPool())
	}
	c.labels("labels", r.GetLabels())
	if !printable(r.GetNote()) {
		c.add("note", "must be text without control characters")
	}
	return c.err()
}

func (c *check) priority(p int32) { between(c, "priority", p, -maxPriority, maxPriority) }

func (c *check) pool(path, name string) {
	if !IsName(name) {
		c.add(path, NameRule)
	}
}

// CheckLabels checks labels that something is to have. What is wrong comes as an *Error.
func CheckLabels(labels map[string]string) error {
	c := &check{}
	c.labels("labels", labels)
	return c.err()
}

// maxLabel is how long the key or the value of a label is at most.
const maxLabel = 63

// labels checks keys and values; an empty value is that of a label that is taken away.
func (c *check) labels(path string, labels map[string]string) {
	if len(labels) > state.MaxLabels {
		c.add(path, "%d are too many: at most %d", len(labels), state.MaxLabels)
	}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		switch value := labels[key]; {
		case !isLabelKey(key):
			c.add(path, "key %.80q must be 1 to %d of a-z, A-Z, 0-9, and . _ - / between them", key, maxLabel)
		case utf8.RuneCountInString(value) > maxLabel || !printable(value):
			c.add(path+"."+key, "%.80q must be at most %d characters, none of them a control character", value, maxLabel)
		}
	}
}

// isLabelKey says whether text is the key of a label.
func isLabelKey(key string) bool {
	for i, r := range key {
		plain := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		between := (r == '.' || r == '_' || r == '-' || r == '/') && i > 0 && i < len(key)-1
		if !plain && !between {
			return false
		}
	}
	return len(key) >= 1 && len(key) <= maxLabel
}

func printable(text string) bool {
	for _, r := range text {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return false
		}
	}
	return true
}
