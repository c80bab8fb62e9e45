package engine

import (
	"math"
	"slices"
	"strings"
	"testing"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/ckpt"
	"tandem.dev/storage/safetensors"
	"tandem.dev/worker/torch"
)

// Small trainings on the digits, with everything that has state or randomness.
const (
	mlp = `{name: m, dataset: d, model: {mlp: {hidden: [32], dropout: 0.3}}, resources: {workers: 1},
		training: {batch: 100, steps: 24, seed: 5, optimizer: {name: adamw, lr: 0.01}, schedule: {name: cosine, warmup_steps: 4}, clip_norm: 1},
		checkpoint: {every_steps: 6}}`
	cnn = `{name: c, dataset: d, model: {cnn: {channels: [8, 8], hidden: [16], dropout: 0.3, norm: group}}, resources: {workers: 2},
		training: {batch: 100, steps: 24, seed: 5, optimizer: {name: sgd, lr: 0.05, momentum: 0.9}, schedule: {name: cosine, warmup_steps: 4}},
		checkpoint: {every_steps: 6}}`
	resnet = `{name: r, dataset: d, model: {resnet: {depth: 8, norm: group}}, resources: {workers: 2},
		training: {batch: 50, steps: 12, seed: 5, optimizer: {name: sgd, lr: 0.01, momentum: 0.9}}, checkpoint: {every_steps: 6}}`
	gpt = `{name: g, dataset: d, model: {gpt: {layers: 2, width: 32, heads: 4, dropout: 0.1}}, resources: {workers: 2},
		training: {batch: 10, steps: 24, seed: 5, optimizer: {name: sgd, lr: 0.05, momentum: 0.9}, clip_norm: 1}, checkpoint: {every_steps: 6}}`
)

// final returns the tensors of the last checkpoint, by name: how they were shared out is of no account.
func final(t *testing.T, a *agent, rank0 string) (*tandemv1.Checkpoint, []safetensors.Tensor) {
	t.Helper()
	kept := a.checkpoints(rank0)
	last := kept[len(kept)-1]
	_, tensors, err := ckpt.Load(t.Context(), shared.store, last.GetPrefix(), ckpt.Expect{})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(tensors, func(a, b safetensors.Tensor) int { return strings.Compare(a.Name, b.Name) })
	return last, tensors
}

func TestResumedEqualsUninterruptedBitForBit(t *testing.T) {
	for name, text := range map[string]string{"mlp on one rank": mlp, "cnn on two ranks": cnn, "resnet on two ranks": strings.Replace(resnet, "group", "batch", 1)} {
		t.Run(name, func(t *testing.T) {
			j := training{trial: trial(t, "-"+name[:3]), spec: parse(t, text), generation: 1}
			whole := j.finish(t)
			_, want := final(t, whole, "alloc-1/0")
			kept := whole.checkpoints("alloc-1/0")
			middle := kept[max(0, len(kept)-2)]
			if middle.GetStep() == 24 {
				t.Fatalf("no checkpoint in the middle: %v", kept)
			}
			j.generation, j.resume = 2, middle
			resumed := j.finish(t)
			if first := resumed.checkpoints("alloc-2/0")[0]; first.GetStep() <= middle.GetStep() {
				t.Fatalf("the resumed training kept step %d: it began again", first.GetStep())
			}
			_, got := final(t, resumed, "alloc-2/0")
			same(t, got, want)
		})
	}
}

// The bound for another world size: 1e-5 on each parameter and on the loss after a short training. Dropout and batch
// normalisation are excepted, as they work by rank.
func TestTwoRanksEqualOne(t *testing.T) {
	for name, text := range map[string]string{"mlp": mlp, "cnn": cnn, "resnet": resnet, "gpt": gpt} {
		t.Run(name, func(t *testing.T) {
			// Dropout draws other numbers on each rank; without it the sums differ in their order only.
			run := func(workers string) (map[string]float64, []safetensors.Tensor) {
				sets := []string{"resources.workers=" + workers}
				if name != "resnet" {
					sets = append(sets, "model."+name+".dropout=0")
				}
				var j training
				if name == "gpt" {
					j = onProse(t, "-"+workers, text, sets...)
				} else {
					j = training{trial: trial(t, "-"+workers), generation: 1, spec: parse(t, text, sets...)}
				}
				last, tensors := final(t, j.finish(t), "alloc-1/0")
				return last.GetMetrics(), tensors
			}
			oneMetrics, one := run("1")
			twoMetrics, two := run("2")
			if len(one) != len(two) || len(one) < 4 {
				t.Fatalf("one rank keeps %d tensors, two keep %d", len(one), len(two))
			}
			worst := 0.0
			for i := range one {
				if one[i].Name != two[i].Name || one[i].DType != two[i].DType || !slices.Equal(one[i].Shape, two[i].Shape) {
					t.Fatalf("tensor %d is %s %s %v with one rank, %s %s %v with two", i, one[i].Name, one[i].DType, one[i].Shape, two[i].Name, two[i].DType, two[i].Shape)
				}
				if one[i].DType != "F32" {
					continue
				}
				a, err := torch.Float32s(one[i])
				if err != nil {
					t.Fatal(err)
				}
				b, err := torch.Float32s(two[i])
				if err != nil {
					t.Fatal(err)
				}
				for k := range a {
					worst = max(worst, math.Abs(float64(a[k]-b[k])))
				}
			}
			if !(worst < 1e-5) {
				t.Errorf("parameters differ by up to %g", worst)
			}
			if math.Abs(oneMetrics["loss"]-twoMetrics["loss"]) > 1e-5 {
				t.Errorf("one rank measures %v, two %v", oneMetrics, twoMetrics)
			}
			t.Logf("parameters differ by up to %g", worst)
		})
	}
}
