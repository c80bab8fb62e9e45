package api

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"tandem.dev/coordinator/state"
)

// inDefault is the context of a call in the default project.
func inDefault(ctx context.Context) context.Context {
	return context.WithValue(ctx, principalKey{}, Principal{Reach: state.DefaultProject, Project: state.DefaultProject})
}

// TestHandlersSeeFromAProject: what handlers of clients see of the state comes from view and now, which look from the project of the
// call. Only who serves nodes, or decides about callers themselves, looks at all of it; where a handler does, it is counted here.
func TestHandlersSeeFromAProject(t *testing.T) {
	whole := []string{"access.go", "auth.go", "agent.go", "cluster.go", "entry.go", "rendezvous.go", "standing.go"}
	counted := map[string]int{
		"artifact.go": 1, "dataset.go": 1, // an id that is taken elsewhere
		"node.go": 2, "speaker.go": 1, "hidden.go": 1, // slots are everybody's
		"project.go": 2, "token.go": 4, // for admins
	}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") || slices.Contains(whole, f.Name()) {
			continue
		}
		b, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, way := range []string{"State.View()", "Consensus.View("} {
			if strings.Contains(string(b), way) {
				t.Errorf("%s looks at the state by %s: use view or now, which look from the project of the call", f.Name(), way)
			}
		}
		if n := strings.Count(string(b), ".Whole()"); n != counted[f.Name()] {
			t.Errorf("%s looks at all projects %d times, %d are known", f.Name(), n, counted[f.Name()])
		}
	}
}
