package train

import (
	"cmp"
	"math"
	"slices"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/ckpt"
	"tandem.dev/storage/dataset"
	"tandem.dev/worker/data"
)

// Plan is a spec made concrete for a dataset: what the loop does at which step.
type Plan struct {
	Rows            int64 // of the training split
	Batch           int   // rows of a step over all ranks
	Total           int64 // steps of the whole training
	Until           int64 // step at which the ranks stop, with an evaluation and a checkpoint; Total: at the end
	Seed            int64
	MicroBatches    int
	Schedule        Schedule
	EvaluateEvery   int64 // steps; 0: at the end of each epoch
	EvaluateBatch   int   // rows of one forward pass
	CheckpointEvery int64 // steps; 0: only at evaluations
	Loss            string
	Order           ckpt.Order // says which evaluation is best
}

// NewPlan makes the plan of a spec for a dataset. Its errors are permanent and name the
// place in the spec.
func NewPlan(spec *tandemv1.JobSpec, m dataset.Manifest) (Plan, error) {
	t := spec.GetTraining()
	split, _ := m.Split(data.Train)
	p := Plan{
		Rows:            split.Rows,
		Batch:           int(t.GetBatch()),
		Seed:            t.GetSeed(),
		MicroBatches:    max(1, int(t.GetMicroBatches())),
		EvaluateEvery:   spec.GetEvaluate().GetEverySteps(),
		EvaluateBatch:   int(spec.GetEvaluate().GetBatch()),
		CheckpointEvery: spec.GetCheckpoint().GetEverySteps(),
	}
	if p.Batch < 1 || int64(p.Batch) > split.Rows {
		return p, permanentf("training.batch is %d, but the training split has %d rows; choose 1 to %d", p.Batch, split.Rows, split.Rows)
	}
	if p.EvaluateBatch < 1 {
		p.EvaluateBatch = p.Batch
	}
	perEpoch := (split.Rows + int64(p.Batch) - 1) / int64(p.Batch)
	switch {
	case t.GetSteps() > 0 && t.GetEpochs() == 0:
		p.Total = t.GetSteps()
	case t.GetEpochs() > 0 && t.GetSteps() == 0:
		p.Total = int64(t.GetEpochs()) * perEpoch
	default:
		return p, permanentf("training has epochs %d and steps %d; set exactly one of them", t.GetEpochs(), t.GetSteps())
	}
	if err := complete(t.GetOptimizer()); err != nil {
		return p, err
	}
	lr := t.GetOptimizer().GetLr()
	if !(lr > 0) || math.IsInf(lr, 0) {
		return p, permanentf("training.optimizer.lr is %v; it must be positive", lr)
	}
	p.Until = p.Total
	var err error
	if p.Schedule, err = newSchedule(t.GetSchedule(), lr, p.Total); err != nil {
		return p, err
	}
	if p.Loss, err = lossOf(t.GetLoss(), m); err != nil {
		return p, err
	}
	p.Order, err = orderOf(spec, p.Loss)
	return p, err
}

// complete refuses an optimizer whose numbers are not all there. The coordinator has filled
// in the defaults; others here would be a second truth.
func complete(o *tandemv1.OptimizerSpec) error {
	adam := o.GetName() != "sgd"
	if o.GetName() == "" || o.WeightDecay == nil || adam && (o.GetBeta1() == 0 || o.GetBeta2() == 0 || o.GetEps() == 0) {
		return permanentf("training.optimizer %q is not complete, as the coordinator makes it: are engine and coordinator of one version?", o.GetName())
	}
	return nil
}

// Losses a spec may name.
const (
	CrossEntropy = "cross_entropy"
	MSE          = "mse"
)

func lossOf(loss string, m dataset.Manifest) (string, error) {
	fits := CrossEntropy
	if m.Task == dataset.TaskRegression {
		fits = MSE
	}
	switch loss {
	case "", fits:
		return fits, nil
	case CrossEntropy, MSE:
		return "", permanentf("training.loss is %s, but the dataset is for %s; leave it out or use %s", loss, m.Task, fits)
	}
	return "", permanentf("training.loss is %q; use %s or %s", loss, CrossEntropy, MSE)
}

func orderOf(spec *tandemv1.JobSpec, loss string) (ckpt.Order, error) {
	known := []string{"loss", "mae", "mse"}
	if loss == CrossEntropy {
		known = []string{"accuracy", "loss"}
	}
	o := ckpt.Order{Metric: cmp.Or(spec.GetMetric(), known[0]), TieBreaker: spec.GetTieBreaker()}
	if !slices.Contains(known, o.Metric) {
		return o, permanentf("metric is %q; with the loss %s there are %v", o.Metric, loss, known)
	}
	switch spec.GetMode() {
	case "":
		o.Maximize = o.Metric == "accuracy"
	case "min", "max":
		o.Maximize = spec.GetMode() == "max"
	default:
		return o, permanentf("mode is %q; use min or max", spec.GetMode())
	}
	return o, nil
}

// StopAt makes the training stop after a share of its steps, rounded up; 0 and 1: it does not.
func (p *Plan) StopAt(share float64) {
	if share > 0 && share < 1 {
		// The share comes from a division: 2/3 of 6 steps are 4.
		p.Until = int64(math.Ceil(share*float64(p.Total) - 1e-9*float64(p.Total)))
	}
}

// evaluateAfter tells whether the validation split is evaluated at a state reached by a step.
func (p Plan) evaluateAfter(st State) bool {
	if st.Step >= p.Until {
		return true
	}
	if p.EvaluateEvery > 0 {
		return st.Step%p.EvaluateEvery == 0
	}
	return st.Cursor.Position == 0
}

// checkpointAfter tells whether a state is kept besides those that are evaluated.
func (p Plan) checkpointAfter(st State) bool {
	return st.Step >= p.Until || p.CheckpointEvery > 0 && st.Step%p.CheckpointEvery == 0
}
