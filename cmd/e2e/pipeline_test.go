package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPipelineLineByLine runs the pipeline of the examples, each of its lines twice, as a pipeline does that lost an answer. All exit codes
// are 0, and the second answer is that of the first.
func TestPipelineLineByLine(t *testing.T) {
	c := newCluster(t, 1, 1, 4)
	script := filepath.Join(programs.repository, "examples", "digits", "pipeline.sh")
	text, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	var head []string
	commands := map[string]int{}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "tandem ") {
			head = append(head, line) // what each line needs before it
			continue
		}
		var answers [2]map[string]any
		for i := range answers {
			out := c.bash(script, strings.Join(head, "")+line)
			if err := json.Unmarshal(out, &answers[i]); err != nil {
				t.Fatalf("%sis not JSON: %v\n%s", line, err, out)
			}
		}
		command := verb(line)
		commands[command]++
		first, second := answers[0], answers[1]
		switch command {
		case "submit": // it is the same job, which may run by now
			if first, second := id(first, "job"), id(second, "job"); first == "" || first != second {
				t.Errorf("%smade job %q, then job %q", line, first, second)
			}
		case "serve": // they are the same replicas, of which the coordinator knows by now that all are ready
			if first, second := ids(first, "replicas"), ids(second, "replicas"); len(first) != 1 || !slices.Equal(first, second) {
				t.Errorf("%splaced %v, then %v", line, first, second)
			}
		case "delete", "model delete", "dataset delete": // what is gone cannot be shown
			if len(second) != 1 || !empty(second) || empty(first) {
				t.Errorf("%sanswered %v, then %v", line, first, second)
			}
		default:
			if diff := cmp.Diff(first, second); diff != "" {
				t.Errorf("%sanswered otherwise the second time (-first +second):\n%s", line, diff)
			}
		}
	}
	if len(commands) < 11 {
		t.Errorf("the pipeline has only %v", commands)
	}
	for _, list := range []string{"list", "model", "dataset"} {
		args := []string{list, "list"}
		if list == "list" {
			args = args[:1]
		}
		if left := c.run(0, append(args, "-o", "json")...); strings.Contains(left, "digits-nightly") {
			t.Errorf("left over: %s", left)
		}
	}
	// Without a request id it is another request, for something that does not exist.
	c.run(5, "delete", "-y", "digits-nightly")
	c.run(5, "model", "delete", "-y", "digits-nightly")
	c.run(5, "dataset", "delete", "-y", "digits-nightly")
}

// bash runs lines of a script, under its name, and returns what they wrote.
func (c *cluster) bash(script, lines string) []byte {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), "bash", "-c", lines, script)
	cmd.Env = append(os.Environ(), "RUN=nightly", "EPOCHS=2", "TIMEOUT=3m", "TANDEM_CONFIG="+c.contexts,
		"PATH="+filepath.Dir(programs.tandem)+string(os.PathListSeparator)+os.Getenv("PATH"))
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		c.t.Fatalf("%s: %v\n%s%s", lines, err, out, errs.String())
	}
	return out
}

// verb is the command of a line: "model delete" of `tandem model delete -y x`.
func verb(line string) string {
	words := strings.Fields(line)[1:]
	switch words[0] {
	case "dataset", "model":
		return strings.Join(words[:2], " ")
	case "serve":
		if words[1] == "stop" {
			return "serve stop"
		}
	}
	return words[0]
}

// id of what an answer has under a name.
func id(answer map[string]any, name string) string {
	of, _ := answer[name].(map[string]any)
	text, _ := of["id"].(string)
	return text
}

// ids of what an answer lists under a name.
func ids(answer map[string]any, name string) (all []string) {
	list, _ := answer[name].([]any)
	for _, row := range list {
		all = append(all, id(map[string]any{name: row}, name))
	}
	return all
}

// empty tells whether all fields of an answer are.
func empty(answer map[string]any) bool {
	for _, v := range answer {
		if list, ok := v.([]any); v != nil && (!ok || len(list) > 0) {
			return false
		}
	}
	return true
}
