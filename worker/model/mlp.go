package model

import (
	"errors"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/torch"
)

// mlp is Flatten and then net: Linear, activation, Dropout for each hidden
// layer, and a last Linear.
func mlp(spec *tandemv1.MlpSpec, inputShape []int64, outputs int64) (torch.ModuleDef, error) {
	act, err := activation(spec.GetActivation())
	if err := errors.Join(err, checkWidths("hidden", spec.GetHidden()), checkDropout(spec.GetDropout())); err != nil {
		return torch.ModuleDef{}, err
	}
	width := int64(1)
	for _, d := range inputShape {
		width *= d
		if width > maxParameters {
			return torch.ModuleDef{}, errors.New("the rows are too large")
		}
	}
	var net sequential
	for _, h := range spec.GetHidden() {
		net.layer(linear(width, int64(h)))
		net.op(act)
		net.dropout(spec.GetDropout())
		width = int64(h)
	}
	net.layer(linear(width, outputs))
	return torch.ModuleDef{
		Class:    "tandem.Mlp",
		Children: []torch.ChildDef{{Name: "net", Module: net.module()}},
		Forward:  "def forward(self, x: Tensor) -> Tensor:\n    return self.net.forward(torch.flatten(x, 1))\n",
	}, nil
}
