package spec

import (
	"cmp"

	"google.golang.org/protobuf/proto"

	"tandem.dev/proto/say"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// training fills in and checks how to train on data, which is nil when it is not known.
func (c *check) training(t *tandemv1.TrainingSpec, data *tandemv1.Dataset) {
	between(c, "training.batch", t.GetBatch(), 1, maxBatch)
	if rows := data.GetRows()["train"]; rows > 0 && int64(t.GetBatch()) > rows {
		c.add("training.batch", "%d is more than the %d rows of the training split of %s@%d", t.GetBatch(), rows, data.GetName(), data.GetVersion())
	}
	switch {
	case t.GetEpochs() != 0 && t.GetSteps() != 0:
		c.add("training", "has both epochs and steps; give one of them")
	case t.GetEpochs() == 0 && t.GetSteps() == 0:
		c.add("training", "has neither epochs nor steps; give one of them")
	case t.GetEpochs() != 0:
		between(c, "training.epochs", t.GetEpochs(), 1, maxEpochs)
	default:
		between(c, "training.steps", t.GetSteps(), 1, maxSteps)
	}
	c.loss(t, data)
	c.number("training.clip_norm", t.GetClipNorm(), 0, 1e12)
	t.MicroBatches = cmp.Or(t.GetMicroBatches(), 1)
	between(c, "training.micro_batches", t.GetMicroBatches(), 1, max(t.GetBatch(), 1))
	if t.Optimizer == nil {
		t.Optimizer = &tandemv1.OptimizerSpec{}
	}
	c.optimizer(t.GetOptimizer())
	if t.Schedule == nil {
		t.Schedule = &tandemv1.ScheduleSpec{}
	}
	c.schedule(t.GetSchedule())
	if total, warm := totalSteps(t, data.GetRows()["train"]), t.GetSchedule().GetWarmupSteps(); total > 0 && warm > total {
		c.add("training.schedule.warmup_steps", "is %d, but the training has %s: it would never come to its learning rate", warm, say.Count(total, "step"))
	}
}

func (c *check) loss(t *tandemv1.TrainingSpec, data *tandemv1.Dataset) {
	fits := map[string]string{"classification": "cross_entropy", "regression": "mse", "language": "cross_entropy"}[data.GetTask()]
	if t.Loss = cmp.Or(t.GetLoss(), fits); data == nil && t.GetLoss() == "" {
		return // the missing dataset is the problem
	}
	c.oneOf("training.loss", t.GetLoss(), "cross_entropy", "mse")
	if data != nil && (t.GetLoss() == "cross_entropy" || t.GetLoss() == "mse") && t.GetLoss() != fits {
		c.add("training.loss", "%q does not fit dataset %s@%d, whose task is %s; use %q", t.GetLoss(), data.GetName(), data.GetVersion(), data.GetTask(), fits)
	}
}

func (c *check) optimizer(o *tandemv1.OptimizerSpec) {
	o.Name, o.Lr = cmp.Or(o.GetName(), "adamw"), cmp.Or(o.GetLr(), 0.001)
	c.oneOf("training.optimizer.name", o.GetName(), "sgd", "adam", "adamw")
	if !(o.GetLr() > 0) || o.GetLr() > 1e6 {
		c.add("training.optimizer.lr", "must be above 0 and at most 1e6")
	}
	if o.WeightDecay == nil {
		o.WeightDecay = proto.Float64(0)
		if o.GetName() == "adamw" {
			o.WeightDecay = proto.Float64(0.01)
		}
	}
	c.number("training.optimizer.weight_decay", o.GetWeightDecay(), 0, 1e6)
	const path = "training.optimizer."
	if o.GetName() == "sgd" {
		c.share(path+"momentum", o.GetMomentum())
		if o.GetNesterov() && o.GetMomentum() == 0 {
			c.add(path+"nesterov", "needs training.optimizer.momentum above 0")
		}
		if o.GetBeta1() != 0 || o.GetBeta2() != 0 || o.GetEps() != 0 {
			c.add("training.optimizer", "beta1, beta2 and eps belong to adam and adamw, not to sgd")
		}
		return
	}
	if o.GetMomentum() != 0 || o.GetNesterov() {
		c.add(path+"momentum", "belongs to sgd, not to %s", o.GetName())
	}
	o.Beta1, o.Beta2, o.Eps = cmp.Or(o.GetBeta1(), 0.9), cmp.Or(o.GetBeta2(), 0.999), cmp.Or(o.GetEps(), 1e-8)
	c.share(path+"beta1", o.GetBeta1())
	c.share(path+"beta2", o.GetBeta2())
	if !(o.GetEps() > 0) || o.GetEps() > 1 {
		c.add(path+"eps", "must be above 0 and at most 1")
	}
}

func (c *check) schedule(s *tandemv1.ScheduleSpec) {
	s.Name = cmp.Or(s.GetName(), "constant")
	c.oneOf("training.schedule.name", s.GetName(), "constant", "cosine")
	between(c, "training.schedule.warmup_steps", s.GetWarmupSteps(), 0, maxSteps)
	c.number("training.schedule.final_ratio", s.GetFinalRatio(), 0, 1)
	if s.GetName() == "constant" && s.GetFinalRatio() != 0 {
		c.add("training.schedule.final_ratio", "belongs to cosine, not to constant")
	}
}

// totalSteps is how many steps a training has that goes over so many rows.
func totalSteps(t *tandemv1.TrainingSpec, rows int64) int64 {
	if t.GetSteps() > 0 || t.GetBatch() < 1 {
		return t.GetSteps()
	}
	batch := int64(t.GetBatch())
	return int64(t.GetEpochs()) * ((rows + batch - 1) / batch)
}
