//go:build cgo

package model

import (
	"fmt"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/torch"
)

// Build makes the model of a spec with an architecture, on the CPU and in training mode. See Define for the arguments;
// the parameters depend on them and the seed only.
func Build(spec *tandemv1.ModelSpec, inputShape []int64, outputs int, seed int64) (*torch.Module, error) {
	def, err := Define(spec, inputShape, outputs)
	if err != nil {
		return nil, err
	}
	m, err := torch.Compile(def, seed)
	if err != nil {
		return nil, fmt.Errorf("build model: %w", err)
	}
	return m, nil
}
