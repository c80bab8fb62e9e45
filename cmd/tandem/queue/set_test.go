package queue

import (
	"strings"
	"testing"
)

func TestSetArguments(t *testing.T) {
	for args, want := range map[string]string{
		"job":                       "name a job",
		"job priority=x":            "must be a whole number",
		"job priority=9999999999":   "must be a whole number",
		"job priority=1 priority=2": "given twice",
		"job pool=":                 "cannot be set",
		"job workers=3":             "cannot be set: say priority=N or pool=NAME",
	} {
		if _, err := parse(strings.Fields(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
	req, err := parse([]string{"job", "pool=gpu", "priority=-3"})
	if err != nil || req.GetId() != "job" || req.GetPool() != "gpu" || req.GetPriority() != -3 {
		t.Errorf("%v, %v", req, err)
	}
	if req, err := parse([]string{"job", "priority=0"}); err != nil || req.Priority == nil || req.Pool != nil {
		t.Errorf("%v, %v", req, err)
	}
}
