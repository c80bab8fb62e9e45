package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tandem.dev/cmd/tandem/client"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// post sends JSON to a path of the API and decodes a 200 answer.
func (c *cluster) post(path string, request, answer any) (int, string) {
	c.t.Helper()
	body, err := json.Marshal(request)
	if err != nil {
		c.t.Fatal(err)
	}
	response, err := c.api.HTTP.Post(client.BaseURL+path, "application/json", bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	if response.StatusCode == http.StatusOK {
		decode(c.t, string(text), answer)
	}
	return response.StatusCode, string(text)
}

// TestBadInput sends rubbish: each gets an answer that says what is wrong, and the cluster works as before.
func TestBadInput(t *testing.T) {
	c := newCluster(t, 1, 1, 1)
	c.digits()
	spec := func(more string) string {
		return "name: bad\ndataset: digits\nmodel: {mlp: {hidden: [8]}}\ntraining: {batch: 32, epochs: 1}\n" + more
	}
	rubbish := filepath.Join(c.dir, "rubbish.pt")
	if err := os.WriteFile(rubbish, []byte("this is no TorchScript"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused := []struct{ name, spec, says string }{
		{"unknown key", spec("trainning: {batch: 1}\n"), "training"},
		{"no such dataset", strings.Replace(spec(""), "dataset: digits", "dataset: digit", 1), `dataset "digit" was not found; the nearest name is digits; "tandem dataset list" shows`},
		{"batch larger than the split", strings.Replace(spec(""), "batch: 32", "batch: 5000", 1), "1437"},
		{"no TorchScript", strings.Replace(spec(""), "mlp: {hidden: [8]}", "torchscript: {file: nothing.pt}", 1),
			"nothing.pt: no such file"},
		{"rubbish as TorchScript", strings.Replace(spec(""), "mlp: {hidden: [8]}", "torchscript: {file: rubbish.pt}", 1),
			"not a TorchScript file"},
	}
	for _, r := range refused {
		path := c.spec("bad", r.spec)
		c.runAny("submit", "-f", path)
		if !strings.Contains(c.stderr, r.says) || c.code == 0 {
			t.Errorf("%s: exit code %d, and it says %q, which does not name %q", r.name, c.code, c.stderr, r.says)
		}
	}

	failing := []struct{ name, spec, says string }{
		{"loss that is not a number", strings.Replace(spec(""), "epochs: 1", "steps: 400, clip_norm: 0, optimizer: {name: sgd, lr: 1.0e+6}", 1), "NaN"},
	}
	for _, f := range failing {
		j, trial := c.finished(c.submit(c.spec("failing", f.spec)), time.Minute)
		if j.GetState() != tandemv1.JobState_JOB_STATE_FAILED || !strings.Contains(j.GetReason(), f.says) || trial.GetRestarts() != 0 {
			t.Errorf("%s: %v after %d restarts: %q does not name %q", f.name, j.GetState(), trial.GetRestarts(), j.GetReason(), f.says)
		}
	}

	wide := c.submit(c.spec("wide", spec("resources: {workers: 3}\n")))
	eventually(t, 10*time.Second, "the job that can never start says why", func() bool {
		j, _, err := job(t.Context(), c.api, wide)
		return err == nil && j.GetWhy().GetCode() == tandemv1.Reason_CODE_SLOTS_TOO_FEW && strings.Contains(j.GetReason(), "Wants 3 slots")
	})

	ragged := filepath.Join(c.dir, "ragged.csv")
	if err := os.WriteFile(ragged, []byte("a,b,label\n1,2,0\n3,4\n5,6,1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.runAny("dataset", "create", "ragged", "--from", ragged, "--label", "label")
	if c.code == 0 || !strings.Contains(c.stderr, "line 3") {
		t.Errorf("a ragged row: exit code %d: %s", c.code, c.stderr)
	}

	wrong := c.api.Context
	wrong.Token = "tdm_wrong"
	other, err := client.New(wrong, client.DefaultPatience(), "tandem-e2e")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, _, err := job(t.Context(), other, wide); err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("a wrong token: %v", err)
	}

	_, trial := c.completed(c.submit(c.spec("good", spec(""))), time.Minute)
	if len(trial.GetEvaluations()) != 1 {
		t.Errorf("the good job after all that has %d evaluations, want 1", len(trial.GetEvaluations()))
	}
}
