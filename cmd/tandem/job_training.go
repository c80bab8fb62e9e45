package main

import (
	"fmt"
	"strings"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/ckpt"
)

// trainingFields is how a job trains: what one compares two jobs by.
func trainingFields(s *tandemv1.JobSpec) fields {
	t := s.GetTraining()
	if t == nil {
		return nil
	}
	return fields{
		{"Batch", number(t.GetBatch())},
		{"Length", trainingLength(t)},
		{"Optimizer", optimizer(t.GetOptimizer())},
		{"Schedule", schedule(t.GetSchedule())},
		{"Clip norm", numeral(t.GetClipNorm())},
		{"Loss", t.GetLoss()},
		{"Metric", metricText(s)},
		{"Seed", number(t.GetSeed())},
	}
}

func trainingLength(t *tandemv1.TrainingSpec) string {
	if t.GetSteps() > 0 {
		return several(int(t.GetSteps()), "step")
	}
	return several(int(t.GetEpochs()), "epoch")
}

// numeral writes a number; 0, which stands for none, is empty.
func numeral(v float64) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("%g", v)
}

func optimizer(o *tandemv1.OptimizerSpec) string {
	text := o.GetName()
	if o.GetLr() != 0 {
		text += fmt.Sprintf(", lr %g", o.GetLr())
	}
	if o.GetMomentum() != 0 {
		text += fmt.Sprintf(", momentum %g", o.GetMomentum())
	}
	if o.GetNesterov() {
		text += " (Nesterov)"
	}
	if o.GetWeightDecay() != 0 {
		text += fmt.Sprintf(", weight decay %g", o.GetWeightDecay())
	}
	return strings.TrimPrefix(text, ", ")
}

func schedule(s *tandemv1.ScheduleSpec) string {
	text := s.GetName()
	if s.GetWarmupSteps() > 0 {
		text += fmt.Sprintf(", %s of warm-up", several(int(s.GetWarmupSteps()), "step"))
	}
	if s.GetFinalRatio() != 0 {
		text += fmt.Sprintf(", down to %g of lr", s.GetFinalRatio())
	}
	return text
}

func metricText(s *tandemv1.JobSpec) string {
	if s.GetMetric() == "" {
		return ""
	}
	text := s.GetMetric() + ", lower is better"
	if s.GetMode() == "max" {
		text = s.GetMetric() + ", higher is better"
	}
	if tie := s.GetTieBreaker(); tie != "" && tie != ckpt.NoTieBreaker {
		text += ", of equals the lower " + tie
	}
	return text
}

func architecture(m *tandemv1.ModelSpec) string {
	switch {
	case m.GetMlp() != nil:
		return fmt.Sprintf("mlp, hidden %v", m.GetMlp().GetHidden())
	case m.GetCnn() != nil:
		return fmt.Sprintf("cnn, channels %v, hidden %v", m.GetCnn().GetChannels(), m.GetCnn().GetHidden())
	case m.GetResnet() != nil:
		return fmt.Sprintf("resnet, depth %d, norm %s", m.GetResnet().GetDepth(), m.GetResnet().GetNorm())
	case m.GetGpt() != nil:
		return fmt.Sprintf("gpt, layers %d, width %d, heads %d", m.GetGpt().GetLayers(), m.GetGpt().GetWidth(), m.GetGpt().GetHeads())
	case m.GetTorchscript() != nil:
		return "torchscript " + m.GetTorchscript().GetArtifact()
	}
	return ""
}
