package spec

import (
	"cmp"
	"strconv"

	"tandem.dev/proto/say"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (c *check) resnet(m *tandemv1.ResnetSpec, data *tandemv1.Dataset) {
	small := m.GetDepth() == 8
	if !small && m.GetDepth() != 18 {
		c.add("model.resnet.depth", "must be 8 or 18")
	}
	m.Norm = cmp.Or(m.GetNorm(), "batch")
	c.oneOf("model.resnet.norm", m.GetNorm(), "batch", "group")
	if shape := data.GetShape(); len(shape) == 3 {
		stem := "small"
		if !small && max(shape[1], shape[2]) > 64 {
			stem = "imagenet"
		}
		m.Stem = cmp.Or(m.GetStem(), stem)
	}
	switch {
	case small && m.GetStem() == "imagenet":
		c.add("model.resnet.stem", "\"imagenet\" belongs to depth 18")
	case m.GetStem() != "":
		c.oneOf("model.resnet.stem", m.GetStem(), "small", "imagenet")
	}
	c.images("model.resnet", data)
}

// batchNorm refuses a training in which a worker would normalise a single value of a channel at some step: there is no variance of one
// value, and the engine would end the job there, perhaps hours later or when the job is scaled.
func (c *check) batchNorm(s *tandemv1.JobSpec, data *tandemv1.Dataset) {
	net, batch := s.GetModel().GetResnet(), s.GetTraining().GetBatch()
	rows := data.GetRows()["train"]
	if net.GetNorm() != "batch" || batch < 1 || rows < int64(batch) || smallestSide(net, data.GetShape()) != 1 {
		return
	}
	parts := max(1, int64(s.GetTraining().GetMicroBatches()))
	sizes := []int64{int64(batch)}
	if last := rows % int64(batch); last > 0 && totalSteps(s.GetTraining(), rows) > rows/int64(batch) {
		sizes = append(sizes, last)
	}
	for workers := int64(s.GetResources().GetMin()); workers >= 1 && workers <= min(int64(s.GetResources().GetMax()), maxWorkers); workers++ {
		for _, size := range sizes {
			// Shares differ by one row at most, and so do the parts of a share.
			for _, share := range []int64{size / workers, (size + workers - 1) / workers} {
				if share > 0 && share < 2*parts {
					c.add("model.resnet.norm", "with %s and a batch of %s%s a worker gets a single row, which \"batch\" cannot normalise; "+
						"use norm: group, or another training.batch (an epoch has %s)",
						say.Count(workers, "worker"), say.Count(size, "row"), inParts(parts), say.Count(rows, "row"))
					return
				}
			}
		}
	}
}

func inParts(parts int64) string {
	if parts == 1 {
		return ""
	}
	return " in " + strconv.FormatInt(parts, 10) + " micro-batches"
}

// smallestSide is the number of values of a channel that a row has in the last layer; 0: not known.
func smallestSide(net *tandemv1.ResnetSpec, shape []int64) int64 {
	if len(shape) != 3 {
		return 0
	}
	halvings := 2
	if net.GetDepth() == 18 {
		halvings = 3
	}
	if net.GetStem() == "imagenet" {
		halvings += 2
	}
	h, w := shape[1], shape[2]
	for range halvings {
		h, w = (h+1)/2, (w+1)/2
	}
	return h * w
}
