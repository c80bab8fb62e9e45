package queue

import (
	"maps"
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
		"job workers=3":             "cannot be set: say priority=N, pool=NAME, note=TEXT or label KEY=VALUE",
		"job note=a note=b":         "given twice",
		"job note":                  "cannot be set",
		"job label":                 "name labels",
		"job label team":            "write labels as KEY=VALUE",
		"job label a=1 a=2":         "each key once",
	} {
		if _, err := parse(strings.Fields(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
	req, err := parse([]string{"job", "pool=gpu", "priority=-3"})
	if err != nil || req.GetId() != "job" || req.GetPool() != "gpu" || req.GetPriority() != -3 {
		t.Errorf("%v, %v", req, err)
	}
	req, err = parse([]string{"job", "note=", "priority=1", "label", "team=vision", "pool=x", "stage="})
	want := map[string]string{"team": "vision", "pool": "x", "stage": ""}
	if err != nil || req.Note == nil || req.GetPriority() != 1 || req.Pool != nil || !maps.Equal(req.GetLabels(), want) {
		t.Errorf("%v, %v", req, err)
	}
	if req, err := parse([]string{"job", "priority=0"}); err != nil || req.Priority == nil || req.Pool != nil {
		t.Errorf("%v, %v", req, err)
	}
}
