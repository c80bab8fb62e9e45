package model

import (
	"errors"
	"fmt"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/torch"
)

// cnn is features (Conv2d, optional GroupNorm, activation, optional MaxPool2d a
// block), Flatten, and classifier (Dropout and Linear, activation between).
// There is no batch normalisation: its result depends on how a batch is shared out.
func cnn(spec *tandemv1.CnnSpec, inputShape []int64, outputs int64) (torch.ModuleDef, error) {
	kernel, pool := int64(spec.GetKernel()), int64(spec.GetPool())
	if kernel == 0 {
		kernel = 3
	}
	if pool == 0 {
		pool = 2
	}
	act, err := activation(spec.GetActivation())
	err = errors.Join(err, checkWidths("channels", spec.GetChannels()), checkWidths("hidden", spec.GetHidden()), checkDropout(spec.GetDropout()))
	switch norm := spec.GetNorm(); {
	case len(spec.GetChannels()) == 0:
		err = errors.Join(err, errors.New("channels is empty: give the output channels of each block"))
	case kernel < 1 || kernel%2 == 0:
		err = errors.Join(err, fmt.Errorf("kernel is %d, it has to be odd", kernel))
	case pool < 1:
		err = errors.Join(err, fmt.Errorf("pool is %d, it has to be at least 1", pool))
	case norm != "" && norm != "none" && norm != "group":
		err = errors.Join(err, fmt.Errorf("norm %q is unknown: use none or group", norm))
	}
	prepare := "x"
	switch len(inputShape) {
	case 3:
	case 2: // grey images
		inputShape = []int64{1, inputShape[0], inputShape[1]}
		prepare = "torch.unsqueeze(x, 1)"
	default:
		err = errors.Join(err, fmt.Errorf("a cnn needs rows of shape [channels, height, width] or [height, width], the dataset's are %v", inputShape))
	}
	if err != nil {
		return torch.ModuleDef{}, err
	}

	channels, height, width := inputShape[0], inputShape[1], inputShape[2]
	var features sequential
	for _, c := range spec.GetChannels() {
		features.layer(conv2d(channels, int64(c), kernel))
		channels = int64(c)
		if spec.GetNorm() == "group" {
			features.layer(groupNorm(channels))
		}
		features.op(act)
		if pool > 1 && height >= pool && width >= pool {
			features.op(fmt.Sprintf("torch.max_pool2d(x, [%d, %d], [%d, %d])", pool, pool, pool, pool))
			height, width = height/pool, width/pool
		}
	}
	var classifier sequential
	in := channels * height * width
	for _, h := range spec.GetHidden() {
		classifier.dropout(spec.GetDropout())
		classifier.layer(linear(in, int64(h)))
		classifier.op(act)
		in = int64(h)
	}
	classifier.dropout(spec.GetDropout())
	classifier.layer(linear(in, outputs))
	return torch.ModuleDef{
		Class:    "tandem.Cnn",
		Children: []torch.ChildDef{{Name: "features", Module: features.module()}, {Name: "classifier", Module: classifier.module()}},
		Forward: "def forward(self, x: Tensor) -> Tensor:\n    x = self.features.forward(" + prepare + ")\n" +
			"    return self.classifier.forward(torch.flatten(x, 1))\n",
	}, nil
}

// conv2d is torch.nn.Conv2d with a square kernel and padding that keeps the size.
func conv2d(in, out, kernel int64) torch.ModuleDef {
	init, pad := defaultInit(in*kernel*kernel), kernel/2
	return torch.ModuleDef{
		Class:  "tandem.Conv2d",
		Params: []torch.ParamDef{{Name: "weight", Shape: []int64{out, in, kernel, kernel}, Init: init}, {Name: "bias", Shape: []int64{out}, Init: init}},
		Forward: fmt.Sprintf("def forward(self, x: Tensor) -> Tensor:\n"+
			"    return torch.conv2d(x, self.weight, self.bias, [1, 1], [%d, %d], [1, 1], 1)\n", pad, pad),
	}
}

// groupNorm is torch.nn.GroupNorm over as many as eight groups.
func groupNorm(channels int64) torch.ModuleDef {
	groups := min(channels, 8)
	for channels%groups != 0 {
		groups--
	}
	shape := []int64{channels}
	return torch.ModuleDef{
		Class:   "tandem.GroupNorm",
		Params:  []torch.ParamDef{{Name: "weight", Shape: shape, Init: ones}, {Name: "bias", Shape: shape}},
		Forward: fmt.Sprintf("def forward(self, x: Tensor) -> Tensor:\n    return torch.group_norm(x, %d, self.weight, self.bias)\n", groups),
	}
}
