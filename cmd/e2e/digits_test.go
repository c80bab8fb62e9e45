package e2e

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tandem.dev/storage/dataset"
)

// TestDigits is the way from data to prediction on the example: dataset, training on two ranks, publish, serve, predict;
// and the published model.pt gives the served answer in plain libtorch.
func TestDigits(t *testing.T) {
	c := newCluster(t, 1, 2, 1)
	c.digits()
	id := c.submit(filepath.Join(programs.repository, "examples", "digits", "job.yaml"))
	j, _ := c.completed(id, 4*time.Minute)
	if j.GetPublishedVersion() != "digits@1" {
		t.Fatalf("published %q, want digits@1", j.GetPublishedVersion())
	}
	var version struct {
		Version struct {
			Metrics map[string]float64 `json:"metrics"`
			Lineage struct {
				JobID    string `json:"job_id"`
				Dataset  string `json:"dataset"`
				SpecHash string `json:"spec_hash"`
			} `json:"lineage"`
		} `json:"version"`
	}
	decode(t, c.run(0, "model", "describe", "digits@champion", "-o", "json"), &version)
	if accuracy := version.Version.Metrics["test_accuracy"]; accuracy < 0.97 {
		t.Errorf("accuracy on the test split is %v, want at least 0.97", accuracy)
	}
	if l := version.Version.Lineage; l.JobID != id || l.Dataset != "digits@1" || l.SpecHash != j.GetSpecHash() {
		t.Errorf("lineage %+v", l)
	}

	c.run(0, "serve", "digits@champion", "--replicas", "1")
	raw := image(t, 7)
	served := c.infer("digits", raw)

	folder := filepath.Join(c.dir, "download")
	c.run(0, "model", "download", "digits@1", "--to", folder)
	plain := plainLibtorch(t, filepath.Join(folder, "model.pt"), normalised(t, folder, raw), "1,1,8,8")
	if len(served) != 10 || len(plain) != 10 {
		t.Fatalf("%d served and %d plain outputs, want 10", len(served), len(plain))
	}
	for i := range served {
		if math.Abs(served[i]-plain[i]) > 1e-4 {
			t.Errorf("output %d: served %v, plain libtorch %v", i, served[i], plain[i])
		}
	}
}

// image is the pixels of a row of the example, counted from 1.
func image(t *testing.T, row int) []float32 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(programs.repository, "examples", "digits", "digits.csv"))
	if err != nil {
		t.Fatal(err)
	}
	cells := strings.Split(strings.Split(string(text), "\n")[row], ",")
	pixels := make([]float32, 64)
	for i := range pixels {
		v, err := strconv.ParseFloat(cells[i], 32)
		if err != nil {
			t.Fatal(err)
		}
		pixels[i] = float32(v)
	}
	return pixels
}

// digit is the request for one row.
func digit(raw []float32) any {
	return map[string]any{"inputs": []any{map[string]any{
		"name": "input", "datatype": "FP32", "shape": []int{1, 1, 8, 8}, "data": raw,
	}}}
}

// infer asks the served model for its raw outputs for one row.
func (c *cluster) infer(model string, raw []float32) []float64 {
	c.t.Helper()
	var answer struct {
		Outputs []struct {
			Name string    `json:"name"`
			Data []float64 `json:"data"`
		} `json:"outputs"`
	}
	if status, body := c.post("/v2/models/"+model+"/infer", digit(raw), &answer); status != 200 {
		c.t.Fatalf("infer: status %d: %s", status, body)
	}
	for _, o := range answer.Outputs {
		if o.Name == "output" {
			return o.Data
		}
	}
	c.t.Fatalf("no output named output in %+v", answer)
	return nil
}

// normalised applies the normalisation that was published with a version.
func normalised(t *testing.T, folder string, raw []float32) []float32 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var manifest struct {
		Body struct {
			Normalization dataset.Normalization `json:"normalization"`
		} `json:"body"`
	}
	decode(t, string(text), &manifest)
	if manifest.Body.Normalization.Method == "" {
		t.Fatalf("no normalisation in the manifest: %s", text)
	}
	out := make([]float32, len(raw))
	if err := manifest.Body.Normalization.Apply(out, raw, len(raw)); err != nil {
		t.Fatal(err)
	}
	return out
}

// plainLibtorch compiles a program that has nothing of Tandem and returns what it makes of the model.
func plainLibtorch(t *testing.T, model string, input []float32, shape string) []float64 {
	t.Helper()
	program := filepath.Join(t.TempDir(), "plain_load")
	source := filepath.Join(programs.repository, "worker", "torch", "testdata", "plain_load.cc")
	args := append([]string{"-std=c++17", source, "-o", program}, goFlags(t, "CGO_CXXFLAGS")...)
	args = append(args, goFlags(t, "CGO_LDFLAGS")...)
	if out, err := exec.Command("g++", append(args, "-ltorch", "-ltorch_cpu", "-lc10")...).CombinedOutput(); err != nil {
		t.Fatalf("compile plain_load.cc: %v\n%s", err, out)
	}
	var values bytes.Buffer
	if err := binary.Write(&values, binary.LittleEndian, input); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, model, shape)
	cmd.Stdin = &values
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("plain_load: %v", err)
	}
	lines := strings.Fields(string(out))[1:] // the first is the shape
	result := make([]float64, len(lines))
	for i, line := range lines {
		if result[i], err = strconv.ParseFloat(line, 64); err != nil {
			t.Fatal(err)
		}
	}
	return result
}

// goFlags is one of the flag lists that compile the engine.
func goFlags(t *testing.T, name string) []string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatalf("go env %s: %v", name, err)
	}
	return strings.Fields(string(out))
}
