package engine

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/dataset"
	"tandem.dev/worker/fault"
	"tandem.dev/worker/line"
	"tandem.dev/worker/model"
	"tandem.dev/worker/torch"
)

// endless is a training that goes on until something happens to it.
const endless = `{name: e, dataset: d, model: {mlp: {hidden: [16]}}, resources: {workers: 2}, training: {batch: 50, epochs: 100000}}`

// upload puts a file where the coordinator keeps those of users.
func upload(t *testing.T, b []byte) string {
	t.Helper()
	sum := sha256.Sum256(b)
	name := hex.EncodeToString(sum[:])
	if err := shared.store.Put(t.Context(), "artifacts/"+name, bytes.NewReader(b), int64(len(b))); err != nil {
		t.Fatal(err)
	}
	return name
}

// swapped is the name of a file whose bytes in the store are another's.
func swapped(t *testing.T, b, other []byte) string {
	t.Helper()
	name := upload(t, b)
	if err := shared.store.Put(t.Context(), "artifacts/"+name, bytes.NewReader(other), int64(len(other))); err != nil {
		t.Fatal(err)
	}
	return name
}

// written is the file of a model with one weight and this forward.
func written(t *testing.T, forward string) []byte {
	t.Helper()
	m, err := torch.Compile(torch.ModuleDef{
		Class: "test.Written", Params: []torch.ParamDef{{Name: "weight", Shape: []int64{10}}}, Forward: "def forward(self, x: Tensor) -> Tensor:\n" + forward,
	}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	file, err := m.Save()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// recoded is a TorchScript file with other code.
func recoded(t *testing.T, file []byte, from, to string) []byte {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range r.File {
		b, err := fs.ReadFile(r, f.Name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(f.Name, ".py") {
			b = bytes.ReplaceAll(b, []byte(from), []byte(to))
		}
		entry, err := w.CreateHeader(&zip.FileHeader{Name: f.Name, Method: zip.Store})
		if err == nil {
			_, err = entry.Write(b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func own(artifact string) func(*tandemv1.JobSpec) {
	return func(s *tandemv1.JobSpec) {
		s.Model = &tandemv1.ModelSpec{Architecture: &tandemv1.ModelSpec_Torchscript{Torchscript: &tandemv1.TorchScriptSpec{Artifact: artifact}}}
	}
}

func TestWhatAUserDidWrongIsPermanent(t *testing.T) {
	seven, err := model.Build(parse(t, mlp).GetModel(), []int64{1, 8, 8}, 7, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer seven.Close()
	file, err := seven.Save()
	if err != nil {
		t.Fatal(err)
	}
	ten, err := model.Build(parse(t, mlp).GetModel(), []int64{1, 8, 8}, 10, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer ten.Close()
	fits, err := ten.Save()
	if err != nil {
		t.Fatal(err)
	}
	damaged := damagedDigits(t)
	for name, c := range map[string]struct {
		change  func(*tandemv1.JobSpec)
		dataset string
		want    []string
	}{
		"learning rate of 1e30":                {change: func(s *tandemv1.JobSpec) { s.Training.Optimizer.Lr, s.Training.ClipNorm = 1e30, 0 }, want: []string{"diverged", "step ", "learning rate", "training.clip_norm"}},
		"batch larger than split":              {change: func(s *tandemv1.JobSpec) { s.Training.Batch = 5000 }, want: []string{"training.batch is 5000", "rows"}},
		"outputs for seven classes":            {change: own(upload(t, file)), want: []string{"[2 7]", "[2 10]"}},
		"a file that is not a model":           {change: own(upload(t, []byte("no model"))), want: []string{"not a TorchScript file"}},
		"a model that the store does not have": {change: own(strings.Repeat("0", 64)), want: []string{"not in the store", "model.torchscript.file"}},
		"a model with other bytes":             {change: own(swapped(t, fits, file)), want: []string{"other bytes in the store than were uploaded"}},
		"a model that reads files":             {change: own(upload(t, written(t, "    return torch.from_file(\"/etc/passwd\", False, 10) * self.weight\n"))), want: []string{"aten::from_file"}},
		"a model whose code does not compile": {
			change: own(upload(t, recoded(t, written(t, "    return torch.sin(x) * self.weight\n"), "torch.sin(x)", "nobody(x)"))),
			want:   []string{"its code does not compile", "undefined value nobody"},
		},
		"a model that loops": {change: func(s *tandemv1.JobSpec) {
			own(upload(t, written(t, "    y = x.sum()\n    while bool(y == y):\n        y = y * 1.0\n    return y * self.weight\n")))(s)
			s.Limits = &tandemv1.LimitsSpec{Step: "2s"}
		}, want: []string{"did not come back from a forward pass within 2s", "limits.step"}},
		"a dataset that is damaged":     {dataset: damaged, want: []string{"corrupt dataset", "train-00000.arrow"}},
		"a dataset that does not exist": {dataset: "datasets/none", want: []string{"not found"}},
		"a cnn of flat kernels":         {change: func(s *tandemv1.JobSpec) { s.Model = parse(t, cnn).Model; s.Model.GetCnn().Kernel = 4 }, want: []string{"kernel"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := training{trial: trial(t, ""), spec: parse(t, mlp), generation: 1, dataset: c.dataset}
			if c.change != nil {
				c.change(j.spec)
			}
			a := newAgent(t)
			p := j.start(a)[0]
			code := p.wait(t)
			failed := a.last("alloc-1/0").GetFailed()
			if code != exitFailed || !failed.GetPermanent() {
				t.Fatalf("code %d, last report %v", code, a.last("alloc-1/0"))
			}
			if said := slices.Contains(c.want, "diverged"); said != failed.GetDiverged() {
				t.Errorf("diverged: %v, want %v", failed.GetDiverged(), said)
			}
			for _, want := range c.want {
				if !strings.Contains(failed.GetMessage(), want) {
					t.Errorf("%q does not say %q", failed.GetMessage(), want)
				}
			}
			if strings.Contains(p.log.String(), "goroutine ") {
				t.Errorf("the user's log has stacks of the engine:\n%s", p.log.String())
			}
		})
	}
}

// damagedDigits is a copy of the digits with one bit turned.
func damagedDigits(t *testing.T) string {
	t.Helper()
	prefix, err := digits()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dataset.ManifestName, "train-00000.arrow", "validation-00000.arrow"} {
		b, err := storage.ReadAll(t.Context(), shared.store, prefix+"/"+name, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		if name == "train-00000.arrow" {
			b[len(b)/2] ^= 1
		}
		if err := shared.store.Put(t.Context(), "datasets/data-damaged/"+name, bytes.NewReader(b), int64(len(b))); err != nil {
			t.Fatal(err)
		}
	}
	return "datasets/data-damaged"
}

// running starts the endless training and returns when it has kept a checkpoint.
func running(t *testing.T) (*agent, []*process) {
	t.Helper()
	a := newAgent(t)
	begun := make(chan struct{})
	var once sync.Once
	a.onReport = func(r *tandemv1.EngineReport) {
		if r.GetCheckpoint() != nil {
			once.Do(func() { close(begun) })
		}
	}
	j := training{trial: trial(t, ""), spec: parse(t, endless), generation: 1}
	all := j.start(a)
	select {
	case <-begun:
	case <-time.After(time.Minute):
		t.Fatal("the training does not begin")
	}
	return a, all
}

func TestStopKeepsAllSteps(t *testing.T) {
	a, ranks := running(t)
	a.stop("alloc-1/1") // one rank is told, both stop
	for rank, p := range ranks {
		if code := p.wait(t); code != 0 {
			t.Errorf("rank %d ended with %d", rank, code)
		}
	}
	zero, one := a.last("alloc-1/0").GetStopped(), a.last("alloc-1/1").GetStopped()
	if zero.GetStep() == 0 || zero.GetStep() != one.GetStep() {
		t.Fatalf("the last words are %v and %v", a.last("alloc-1/0"), a.last("alloc-1/1"))
	}
	kept := a.checkpoints("alloc-1/0")
	if last := kept[len(kept)-1]; last.GetStep() != zero.GetStep() {
		t.Errorf("stopped at step %d, the last checkpoint is of step %d", zero.GetStep(), last.GetStep())
	}
}

func TestEngineDoesNotOutliveItsAgent(t *testing.T) {
	a, ranks := running(t)
	begin := time.Now()
	close(a.hangUp)
	a.cond.Broadcast()
	for rank, p := range ranks {
		// The other rank may be quicker to see the group break.
		if code := p.wait(t); code != exitOrphan && code != exitFailed {
			t.Errorf("rank %d ended with code %d", rank, code)
		}
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestSignalEndsTraining(t *testing.T) {
	_, ranks := running(t)
	begin := time.Now()
	for _, p := range ranks {
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range ranks {
		p.wait(t)
	}
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("it took %v", took)
	}
}

// An engine that is in the middle of something long when it is told to end says what that is, before its agent kills it.
func TestWhoDoesNotEndSaysWhatItDoes(t *testing.T) {
	slow := `{name: s, dataset: d, model: {cnn: {channels: [768, 768, 768], hidden: [16]}}, training: {batch: 1000, epochs: 100}}`
	a := newAgent(t)
	p := a.start(training{trial: trial(t, ""), spec: parse(t, slow), generation: 1}.task(t, 0), fault.Variable+"=forward:0:stop")
	for range time.Tick(10 * time.Millisecond) { // it stops in the middle of its first step
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(stat), ") T ") {
			break
		}
	}
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGCONT} {
		if err := p.cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	p.wait(t)
	for _, want := range []string{"was told to end 2s ago and does not", "torch.(*Trainer).Step"} {
		if !strings.Contains(p.log.String(), want) {
			t.Errorf("%q is not in its log", want)
		}
	}
}

func TestCommandLine(t *testing.T) {
	var out, errs bytes.Buffer
	if code := Main([]string{"devices"}, &out, &errs); code != 0 || !strings.Contains(out.String(), `"kind": "cpu"`) {
		t.Errorf("devices: code %d, %s%s", code, out.String(), errs.String())
	}
	out.Reset()
	if code := Main(nil, &out, &errs); code != 0 || !strings.Contains(out.String(), "devices") {
		t.Errorf("no arguments: code %d, and not the help: %s%s", code, out.String(), errs.String())
	}
	for _, args := range [][]string{{"run"}, {"run", "--socket", "x"}, {"walk"}, {"run", "--sockets", "x"}} {
		if code := Main(args, io.Discard, io.Discard); code != exitUsage {
			t.Errorf("%v: code %d", args, code)
		}
	}
}

// TestFileThatCrashesLibtorch: libtorch 1.13 reads this list with a null pointer, later ones refuse it. Either way the file has its one try.
func TestFileThatCrashesLibtorch(t *testing.T) {
	file := recoded(t, written(t, "    return torch.sin(x) * self.weight\n"), "torch.sin(x)", "annotate(Any, [x])")
	j := training{trial: trial(t, ""), spec: parse(t, mlp), generation: 1}
	own(upload(t, file))(j.spec)
	a := newAgent(t)
	code := j.start(a)[0].wait(t)
	failed := a.last("alloc-1/0").GetFailed()
	if refused := code == exitFailed && failed.GetPermanent(); !refused && code != line.ExitUnreadable {
		t.Errorf("code %d, last report %v", code, a.last("alloc-1/0"))
	}
	t.Logf("code %d: %s", code, failed.GetMessage())
}
