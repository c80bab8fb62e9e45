package state

import (
	"maps"
	"slices"
	"strings"
	"time"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// MaxLabels is how many labels a thing may have.
const MaxLabels = 32

// Labelled are labels after a change of some; an empty value takes one away.
func Labelled(labels, change map[string]string) map[string]string {
	all := map[string]string{}
	maps.Copy(all, labels)
	maps.Copy(all, change)
	maps.DeleteFunc(all, func(_, value string) bool { return value == "" })
	return all
}

// LabelText writes labels for people, by key.
func LabelText(labels map[string]string) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		all = append(all, key+"="+labels[key])
	}
	return strings.Join(all, ", ")
}

// HasLabels says whether labels have all that a selector names: "key=value", or "key" for any value.
func HasLabels(labels map[string]string, selector []string) bool {
	return !slices.ContainsFunc(selector, func(want string) bool {
		key, value, exact := strings.Cut(want, "=")
		has, ok := labels[key]
		return !ok || exact && has != value
	})
}

// JobListed says whether a job is one of those that are asked for.
func JobListed(j *tandemv1.Job, r *tandemv1.ListJobsRequest) bool {
	since := time.Time{}
	if r.GetSince() != nil {
		since = r.GetSince().AsTime()
	}
	return (len(r.GetStates()) == 0 || slices.Contains(r.GetStates(), j.GetState())) &&
		(r.GetUser() == "" || r.GetUser() == j.GetSubmittedBy()) &&
		(since.IsZero() || j.GetCreatedAt().AsTime().After(since)) && HasLabels(j.GetLabels(), r.GetLabels())
}
