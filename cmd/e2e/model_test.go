package e2e

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/cmd/tandem/client"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// ownModel is a short training of a TorchScript file.
func ownModel(name, file string) string {
	return fmt.Sprintf(`
name: %s
dataset: digits
model: {torchscript: {file: %s}}
training: {batch: 128, steps: 5, optimizer: {name: sgd, lr: 0.01}}
checkpoint: {every_steps: 5}
publish: {model: %s}
`, name, file, name)
}

// TestModelsThatMisbehave: a model that does not come back from one input costs that request and its replica, not the others; files that
// hide an operator or were replaced in the store are refused by name where they are loaded.
func TestModelsThatMisbehave(t *testing.T) {
	c := newCluster(t, 1, 1, 2)
	c.workers[0].stop()
	c.workers[0].args = append(c.workers[0].args, "--infer-deadline", "2s")
	c.workers[0].start()
	c.digits()
	c.completed(c.submit(c.spec("plain", strings.Replace(ownModel("plain", ""), "torchscript: {file: }", "mlp: {hidden: [8]}", 1))), time.Minute)
	folder := filepath.Join(c.dir, "download")
	c.run(0, "model", "download", "plain@1", "--to", folder)
	plain, err := os.ReadFile(filepath.Join(folder, "model.pt"))
	if err != nil {
		t.Fatal(err)
	}
	hidden := c.rewritten("hidden.pt", plain, `    x = getattr(torch, "from_file")("/etc/passwd", False, 10)`)
	c.rewritten("loops.pt", plain, "    while bool(torch.gt(torch.max(x), 100000.)):\n      x = torch.add(x, 1)")

	// What the text of a file hides is found when it is loaded.
	j, _ := c.finished(c.submit(c.spec("hidden", ownModel("hidden", "hidden.pt"))), time.Minute)
	if j.GetState() != tandemv1.JobState_JOB_STATE_FAILED || !strings.Contains(j.GetReason(), "aten::from_file") {
		t.Errorf("an operator that is not on the list: %v, %s", j.GetState(), j.GetReason())
	}
	id := c.submit(c.spec("loops", ownModel("loops", "loops.pt")))
	c.completed(id, time.Minute)

	c.run(0, "serve", "loops@1", "--replicas", "2")
	c.hangs("loops")
	c.run(0, "serve", "stop", "loops", "-y")

	// Files of a version and of a user that are not those any more that were looked at.
	c.replace("models/", "model.pt", hidden)
	c.run(0, "serve", "loops@1", "--replicas", "1", "--no-wait")
	c.refusedReplicas("loops", "corrupt version: model.pt")
	c.replace("artifacts/", "", hidden)
	kept, err := c.api.Checkpoints.ListCheckpoints(t.Context(), connect.NewRequest(&tandemv1.ListCheckpointsRequest{JobId: id}))
	if err != nil {
		t.Fatal(err)
	}
	said := c.runAny("model", "publish", kept.Msg.GetCheckpoints()[0].GetId(), "--name", "other")
	if c.code == 0 || !strings.Contains(said+c.stderr, "has other bytes in the store than were uploaded") {
		t.Errorf("a replaced file was published: exit code %d, %s%s", c.code, said, c.stderr)
	}
}

// hangs asks a model with two replicas for what it does not come back from.
func (c *cluster) hangs(model string) {
	c.t.Helper()
	row, far := make([]float32, 64), make([]float32, 64)
	for i := range far {
		far[i] = 1e12
	}
	request, err := json.Marshal(digit(far))
	if err != nil {
		c.t.Fatal(err)
	}
	c.infer(model, row)
	hanging := make(chan string, 1)
	go func() {
		res, err := c.api.HTTP.Post(client.BaseURL+"/v2/models/"+model+"/infer", "application/json", bytes.NewReader(request))
		if err != nil {
			hanging <- err.Error()
			return
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		hanging <- fmt.Sprint(res.StatusCode, " ", string(text), err)
	}()
	answered, said := 0, ""
	for ; said == ""; answered++ {
		c.infer(model, row) // by the other replica
		select {
		case said = <-hanging:
		default:
		}
	}
	c.t.Logf("%d requests were answered while one hung", answered)
	if !strings.HasPrefix(said, "504 ") || !strings.Contains(said, "started again") {
		c.t.Errorf("the request that hangs is answered %s", said)
	}
	marked := regexp.MustCompile(`replica of ` + model + `@1 on worker-1 failed: .*did not answer a request within 2s`)
	eventually(c.t, 20*time.Second, "the replica is marked", func() bool { return marked.MatchString(c.run(0, "events")) })
	eventually(c.t, 30*time.Second, "two replicas are ready again", func() bool { return strings.Contains(c.run(0, "serve", "list"), "2/2") })
	if audit := c.run(0, "audit", "--method", "/v2", "--outcome", "deadline_exceeded"); !strings.Contains(audit, model) {
		c.t.Errorf("the audit log does not say who asked what %s did not come back from:\n%s", model, audit)
	}
	c.infer(model, row)
}

// replicas are those of a deployment.
func (c *cluster) replicas(model string) []*tandemv1.Replica {
	res, err := c.api.Deployments.GetDeployment(c.t.Context(), connect.NewRequest(&tandemv1.GetDeploymentRequest{Name: model}))
	if err != nil {
		return nil
	}
	return res.Msg.GetReplicas()
}

// refusedReplicas waits until a deployment has failed three times for a reason, with a pause that grows before each new attempt.
func (c *cluster) refusedReplicas(model, reason string) {
	c.t.Helper()
	var failed []*tandemv1.Replica
	eventually(c.t, time.Minute, "three replicas have failed", func() bool {
		failed = failed[:0]
		for _, r := range c.replicas(model) {
			if r.GetState() == tandemv1.ReplicaState_REPLICA_STATE_FAILED {
				failed = append(failed, r)
			}
		}
		return len(failed) >= 3
	})
	for i, r := range failed[:3] {
		if !strings.Contains(r.GetReason(), reason) {
			c.t.Errorf("a replica failed for %q, which does not name %q", r.GetReason(), reason)
		}
		if i > 0 {
			pause := r.GetCreatedAt().AsTime().Sub(failed[i-1].GetCreatedAt().AsTime())
			if least := time.Second << (i - 1); pause < least {
				c.t.Errorf("attempt %d came %v after the one before, want %v or more", i+1, pause, least)
			}
		}
	}
}

// replace gives all objects below a prefix whose keys end so other contents.
func (c *cluster) replace(prefix, end string, b []byte) {
	c.t.Helper()
	n := 0
	for info, err := range c.store.List(c.t.Context(), prefix) {
		if err == nil && strings.HasSuffix(info.Key, end) {
			n++
			err = c.store.Put(c.t.Context(), info.Key, bytes.NewReader(b), int64(len(b)))
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
	if n == 0 {
		c.t.Fatalf("no object %s*%s", prefix, end)
	}
}

// forward is the head of a method that computes, as TorchScript writes it.
var forward = regexp.MustCompile(`def forward\(self: [\w.]+,\n    x: Tensor\) -> Tensor:\n`)

// rewritten writes a TorchScript file whose methods do something first.
func (c *cluster) rewritten(name string, file []byte, first string) []byte {
	c.t.Helper()
	r, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		c.t.Fatal(err)
	}
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	changed := 0
	for _, f := range r.File {
		in, err := f.Open()
		if err != nil {
			c.t.Fatal(err)
		}
		b, err := io.ReadAll(in)
		if err != nil {
			c.t.Fatal(err)
		}
		if strings.HasSuffix(f.Name, ".py") {
			changed += len(forward.FindAll(b, -1))
			b = forward.ReplaceAll(b, []byte("$0"+strings.ReplaceAll(first, "$", "$$")+"\n"))
		}
		to, err := w.CreateHeader(&zip.FileHeader{Name: f.Name, Method: zip.Store})
		if err == nil {
			_, err = to.Write(b)
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		c.t.Fatal(err)
	}
	if changed == 0 {
		c.t.Fatal("TorchScript writes methods in another way now")
	}
	if err := os.WriteFile(filepath.Join(c.dir, name), out.Bytes(), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return out.Bytes()
}
