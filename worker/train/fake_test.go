package train_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/ckpt"
	"tandem.dev/storage/dataset"
	"tandem.dev/storage/safetensors"
	"tandem.dev/worker/checkpoint"
	"tandem.dev/worker/data"
	"tandem.dev/worker/train"
)

// softmax is a linear classifier in float64 with momentum and input dropout: the slow,
// obvious Trainer.
type softmax struct {
	dim, classes int
	w, momentum  []float64
	group        train.Group // of the present generation
	world        int
	dropout      float64
	poisoned     func(step int) bool // steps whose gradient is not finite; nil: none
	slow         func(step int) bool // steps that take three times as long; nil: none
	steps        int
}

func newSoftmax(dim, classes int, group train.Group, world int) *softmax {
	n := (dim + 1) * classes
	return &softmax{dim: dim, classes: classes, w: make([]float64, n), momentum: make([]float64, n), group: group, world: world}
}

func (s *softmax) probabilities(x []float64) []float64 {
	p := make([]float64, s.classes)
	sum := 0.0
	for c := range p {
		z := s.w[s.dim*s.classes+c]
		for j, v := range x {
			z += v * s.w[j*s.classes+c]
		}
		p[c] = math.Exp(z)
		sum += p[c]
	}
	for c := range p {
		p[c] /= sum
	}
	return p
}

func (s *softmax) Step(in train.StepInput) (train.StepResult, error) {
	s.steps++
	r := rand.New(rand.NewPCG(uint64(in.Seed), 0))
	grad := make([]float64, len(s.w))
	res := train.StepResult{Forward: 50 * time.Millisecond}
	if s.slow != nil && s.slow(s.steps) {
		res.Forward *= 3
	}
	res.Finite = s.poisoned == nil || !s.poisoned(s.steps)
	for i := range in.Batch.Rows {
		x := make([]float64, s.dim)
		for j := range x {
			x[j] = float64(in.Batch.X[i*s.dim+j])
			if r.Float64() < s.dropout {
				x[j] = 0
			}
		}
		p := s.probabilities(x)
		y := int(in.Batch.Labels[i])
		res.LossSum -= math.Log(p[y])
		p[y]--
		for c := range p {
			for j, v := range x {
				grad[j*s.classes+c] += in.LossScale * v * p[c]
			}
			grad[s.dim*s.classes+c] += in.LossScale * p[c]
		}
	}
	if s.group != nil {
		if err := s.group.AllReduceSum(grad); err != nil {
			return res, err
		}
	}
	if !res.Finite {
		res.GradNorm = math.NaN()
		return res, nil
	}
	res.Applied = true
	for i := range grad {
		s.momentum[i] = 0.9*s.momentum[i] + grad[i]/float64(s.world)
		s.w[i] -= in.LR * s.momentum[i]
	}
	return res, nil
}

func (s *softmax) Evaluate(b data.Batch) (train.Totals, error) {
	t := train.Totals{Rows: float64(b.Rows), Elements: float64(b.Rows)}
	for i := range b.Rows {
		x := make([]float64, s.dim)
		for j := range x {
			x[j] = float64(b.X[i*s.dim+j])
		}
		p := s.probabilities(x)
		best := 0
		for c := range p {
			if p[c] > p[best] {
				best = c
			}
		}
		t.LossSum -= math.Log(p[b.Labels[i]])
		if int64(best) == b.Labels[i] {
			t.Correct++
		}
	}
	return t, nil
}

func (s *softmax) StateSizes() ([]string, []int64, error) {
	n := int64(8 * len(s.w))
	return []string{"w", "momentum"}, []int64{n, n}, nil
}

func (s *softmax) StateOf(names []string, _ []safetensors.Tensor) (all []safetensors.Tensor, _ error) {
	for _, name := range names {
		all = append(all, vector(name, map[string][]float64{"w": s.w, "momentum": s.momentum}[name]))
	}
	return all, nil
}

func (s *softmax) LoadState(tensors []safetensors.Tensor) error {
	for _, t := range tensors {
		into := map[string][]float64{"w": s.w, "momentum": s.momentum}[t.Name]
		for j := range into {
			into[j] = math.Float64frombits(binary.LittleEndian.Uint64(t.Data[8*j:]))
		}
	}
	return nil
}

func (s *softmax) SyncState(root int) error {
	var b []byte
	for _, v := range [][]float64{s.w, s.momentum} {
		b = append(b, vector("", v).Data...)
	}
	b, err := s.group.Broadcast(root, b)
	if err != nil {
		return err
	}
	return s.LoadState([]safetensors.Tensor{{Name: "w", Data: b[:len(b)/2]}, {Name: "momentum", Data: b[len(b)/2:]}})
}

func (s *softmax) Fingerprint() (uint64, error) {
	h := fnv.New64a()
	for _, v := range [][]float64{s.w, s.momentum} {
		_, _ = h.Write(vector("", v).Data) // never fails
	}
	return h.Sum64(), nil
}

func (s *softmax) Finite() (bool, error) {
	sum := 0.0
	for i := range s.w {
		sum += s.w[i] + s.momentum[i]
	}
	return !math.IsNaN(sum) && !math.IsInf(sum, 0), nil
}

func vector(name string, v []float64) safetensors.Tensor {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
	}
	return safetensors.Tensor{Name: name, DType: "F64", Shape: []int64{int64(len(v))}, Data: b}
}

// ring makes the groups of world ranks in this process. Sums are in the order of ranks.
type ring struct {
	mu     sync.Mutex
	cond   *sync.Cond
	world  int
	parts  [][]byte
	turn   int
	result [][]byte
	lost   bool
	since  map[int]time.Time // of each rank that waits
}

type member struct {
	ring *ring
	rank int
}

func newRing(world int) *ring {
	r := &ring{world: world, parts: make([][]byte, world), since: map[int]time.Time{}}
	r.cond = sync.NewCond(&r.mu)
	return r
}

// lose makes every collective fail, as a dead rank does.
func (r *ring) lose() {
	r.mu.Lock()
	r.lost = true
	r.mu.Unlock()
	r.cond.Broadcast()
}

// gather returns what each rank brought.
func (m member) gather(b []byte) ([][]byte, error) {
	r := m.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	r.parts[m.rank] = append([]byte{}, b...)
	turn := r.turn
	arrived := 0
	for _, p := range r.parts {
		if p != nil {
			arrived++
		}
	}
	if arrived == r.world {
		r.result, r.parts = r.parts, make([][]byte, r.world)
		r.turn++
		r.cond.Broadcast()
	}
	r.since[m.rank] = time.Now()
	for r.turn == turn && !r.lost {
		r.cond.Wait()
	}
	delete(r.since, m.rank)
	if r.turn == turn {
		return nil, fmt.Errorf("collective: %w", train.ErrPeerLost)
	}
	return r.result, nil
}

func (m member) AllReduceSum(v []float64) error {
	parts, err := m.gather(vector("", v).Data)
	if err != nil {
		return err
	}
	clear(v)
	for rank, p := range parts {
		if len(p) != 8*len(v) {
			return fmt.Errorf("rank %d brought %d values, rank %d %d", m.rank, len(v), rank, len(p)/8)
		}
		for i := range v {
			v[i] += math.Float64frombits(binary.LittleEndian.Uint64(p[8*i:]))
		}
	}
	return nil
}

func (m member) Broadcast(root int, b []byte) ([]byte, error) {
	parts, err := m.gather(b)
	if err != nil {
		return nil, err
	}
	return append([]byte(nil), parts[root]...), nil
}

func (m member) Waiting() time.Duration {
	m.ring.mu.Lock()
	defer m.ring.mu.Unlock()
	since, ok := m.ring.since[m.rank]
	if !ok {
		return 0
	}
	return time.Since(since)
}

// eager waits for each checkpoint while the store answers, for the steps here are faster than any store.
type eager struct{ *checkpoint.Keeper }

func (e eager) Save(ctx context.Context, m ckpt.Manifest, state ckpt.Source, last bool) error {
	if err := e.Keeper.Save(ctx, m, state, last); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	_ = e.Wait(ctx, cancel) // the loop asks for its failure at the end
	return nil
}

// recorder keeps what is reported.
type recorder struct {
	mu       sync.Mutex
	reports  []*tandemv1.EngineReport
	progress []*tandemv1.Progress
	hook     func(*tandemv1.EngineReport) // called without the lock
}

func (r *recorder) Report(_ context.Context, report *tandemv1.EngineReport) error {
	r.mu.Lock()
	r.reports = append(r.reports, report)
	r.mu.Unlock()
	if r.hook != nil {
		r.hook(report)
	}
	return nil
}

func (r *recorder) Progress(p *tandemv1.Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.progress = append(r.progress, p)
}

func (r *recorder) checkpoints() (all []*tandemv1.Checkpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, report := range r.reports {
		if c := report.GetCheckpoint(); c != nil {
			all = append(all, c.Checkpoint)
		}
	}
	return all
}

func (r *recorder) evaluations() (all []*tandemv1.Evaluation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, report := range r.reports {
		if e := report.GetEvaluation(); e != nil {
			all = append(all, e)
		}
	}
	return all
}

// blobs returns a split of points around the corners of a square, one class each.
func blobs(name string, rows int, seed uint64) *data.Split {
	r := rand.New(rand.NewPCG(seed, 1))
	s := &data.Split{Name: name, Batch: data.Batch{Rows: rows, Shape: []int64{2}}}
	for range rows {
		class := r.IntN(3)
		s.Labels = append(s.Labels, int64(class))
		s.X = append(s.X, float32(class%2)*2-1+float32(0.5*r.NormFloat64()), float32(class/2)*2-1+float32(0.5*r.NormFloat64()))
	}
	return s
}

// manifest describes the blobs.
func manifest(rows int) dataset.Manifest {
	return dataset.Manifest{Task: dataset.TaskClassification, NumClasses: 3, Splits: []dataset.Split{{Name: data.Train, Rows: int64(rows)}}}
}

// site is where a training in a test happens.
type site struct {
	t          *testing.T
	spec       *tandemv1.JobSpec
	store      storage.Store
	world      int
	dropout    float64
	generation int64
	resume     *tandemv1.Checkpoint
	change     func(rank int, c *train.Config, d *train.Deps, s *softmax)
	joined     func(rank int, l *train.Loop) // before it trains
}

type ending struct {
	outcome train.Outcome
	err     error
	model   *softmax
	news    *recorder
}

const trainRows, validRows = 50, 13

// run trains on all ranks and returns how each ended.
func (s site) run() []ending {
	s.t.Helper()
	plan, err := train.NewPlan(s.spec, manifest(trainRows))
	if err != nil {
		s.t.Fatal(err)
	}
	ends := make([]ending, s.world)
	ring := newRing(s.world)
	var wg sync.WaitGroup
	for rank := range s.world {
		var group train.Group
		var keeperGroup checkpoint.Group
		if s.world > 1 {
			group = member{ring, rank}
			keeperGroup = group
		}
		news := &recorder{}
		model := newSoftmax(2, 3, group, s.world)
		model.dropout = s.dropout
		keeper := checkpoint.New(checkpoint.Config{
			Job: "job-1", Trial: "trial-1", SpecHash: "hash", DatasetID: "data-1", Prefix: "trials/trial-1/ckpt",
			Generation: s.generation, Rank: rank, World: s.world, Resume: s.resume,
		}, checkpoint.Deps{Store: s.store, Group: keeperGroup, Log: zerolog.Nop(), Report: func(ctx context.Context, c *tandemv1.Checkpoint) error {
			return news.Report(ctx, &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Checkpoint{Checkpoint: &tandemv1.CheckpointSaved{Checkpoint: c}}})
		}})
		order, err := data.NewOrder(trainRows, plan.Batch, plan.Seed)
		if err != nil {
			s.t.Fatal(err)
		}
		feed := data.NewFeed(blobs("train", trainRows, 1), order)
		config := train.Config{Plan: plan}
		deps := train.Deps{Trainer: model, Batches: feed, Validation: data.NewSlices(blobs("validation", validRows, 2)), Checkpoints: eager{keeper}, Reporter: news, Abort: func(string) { ring.lose() }, Now: time.Now, Log: zerolog.Nop()}
		if s.change != nil {
			s.change(rank, &config, &deps, model)
		}
		loop := train.New(config, deps)
		wg.Go(func() {
			defer feed.Close()
			var outcome train.Outcome
			_, err := loop.Join(s.t.Context(), train.Generation{Number: s.generation, Rank: rank, World: s.world, Group: group})
			if s.joined != nil && err == nil {
				s.joined(rank, loop)
			}
			if err == nil {
				outcome, err = loop.Train(s.t.Context())
			}
			if err != nil {
				ring.lose()
			}
			ends[rank] = ending{outcome, err, model, news}
		})
	}
	wg.Wait()
	return ends
}
