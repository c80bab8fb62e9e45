package model

import (
	"errors"
	"fmt"
	"math"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/torch"
)

// largestSmall is the side up to which images get the small stem unless the spec says otherwise.
const largestSmall = 64

// resnet is a stem, stages of residual blocks, the mean over all places, and fc.
func resnet(spec *tandemv1.ResnetSpec, inputShape []int64, outputs int64) (torch.ModuleDef, error) {
	stem := spec.GetStem()
	var err error
	if len(inputShape) != 3 {
		err = fmt.Errorf("a resnet needs rows of shape [channels, height, width], the dataset's are %v", inputShape)
	} else if stem == "" {
		stem = "small"
		if spec.GetDepth() == 18 && max(inputShape[1], inputShape[2]) > largestSmall {
			stem = "imagenet"
		}
	}
	normal := batchNorm
	switch spec.GetNorm() {
	case "", "batch":
	case "group":
		normal = groupNorm
	default:
		err = errors.Join(err, fmt.Errorf("norm %q is unknown: use batch or group", spec.GetNorm()))
	}
	switch {
	case spec.GetDepth() != 8 && spec.GetDepth() != 18:
		err = errors.Join(err, fmt.Errorf("depth is %d, there are 8 and 18", spec.GetDepth()))
	case stem == "imagenet" && spec.GetDepth() == 8:
		err = errors.Join(err, errors.New("stem imagenet belongs to depth 18"))
	case stem != "" && stem != "small" && stem != "imagenet":
		err = errors.Join(err, fmt.Errorf("stem %q is unknown: use small or imagenet", stem))
	}
	if err != nil {
		return torch.ModuleDef{}, err
	}
	if spec.GetDepth() == 8 {
		return resnet8(normal, inputShape[0], outputs), nil
	}
	return resnet18(normal, stem == "imagenet", inputShape[0], outputs), nil
}

// resnet8 has one block of 16, of 32 and of 64 channels, and starts as PyTorch's layers do.
func resnet8(normal func(int64) torch.ModuleDef, channels, outputs int64) torch.ModuleDef {
	r := residual{norm: normal, shortcut: "shortcut", start: func(in, _, kernel int64) torch.Start { return defaultInit(in * kernel * kernel) }}
	var blocks sequential
	blocks.layer(r.block(16, 16, 1))
	blocks.layer(r.block(16, 32, 2))
	blocks.layer(r.block(32, 64, 2))
	return torch.ModuleDef{
		Class: "tandem.ResNet8",
		Children: []torch.ChildDef{{Name: "conv", Module: r.conv(channels, 16, 3, 1)}, {Name: "bn", Module: normal(16)},
			{Name: "blocks", Module: blocks.module()}, {Name: "fc", Module: linear(64, outputs)}},
		Forward: "def forward(self, x: Tensor) -> Tensor:\n" +
			"    x = self.blocks.forward(torch.relu(self.bn.forward(self.conv.forward(x))))\n" +
			"    return self.fc.forward(torch.mean(x, [2, 3]))\n",
	}
}

// resnet18 is torchvision's: its names and its start, with the stem that the images want.
func resnet18(normal func(int64) torch.ModuleDef, imagenet bool, channels, outputs int64) torch.ModuleDef {
	r := residual{norm: normal, shortcut: "downsample", start: func(_, out, kernel int64) torch.Start {
		return torch.Normal{Std: math.Sqrt(2 / float64(out*kernel*kernel))} // kaiming_normal, fan_out
	}}
	kernel, stride, pool := int64(3), int64(1), ""
	if imagenet {
		kernel, stride, pool = 7, 2, "    x = torch.max_pool2d(x, [3, 3], [2, 2], [1, 1])\n"
	}
	def := torch.ModuleDef{
		Class:    "tandem.ResNet18",
		Children: []torch.ChildDef{{Name: "conv1", Module: r.conv(channels, 64, kernel, stride)}, {Name: "bn1", Module: normal(64)}},
		Forward: "def forward(self, x: Tensor) -> Tensor:\n" +
			"    x = torch.relu(self.bn1.forward(self.conv1.forward(x)))\n" + pool,
	}
	in := int64(64)
	for i, out := range []int64{64, 128, 256, 512} {
		var stage sequential
		stage.layer(r.block(in, out, min(int64(i)+1, 2)))
		stage.layer(r.block(out, out, 1))
		name := fmt.Sprintf("layer%d", i+1)
		def.Children = append(def.Children, torch.ChildDef{Name: name, Module: stage.module()})
		def.Forward += "    x = self." + name + ".forward(x)\n"
		in = out
	}
	def.Children = append(def.Children, torch.ChildDef{Name: "fc", Module: linear(in, outputs)})
	def.Forward += "    return self.fc.forward(torch.mean(x, [2, 3]))\n"
	return def
}

// residual is what the blocks of a network have in common.
type residual struct {
	norm     func(channels int64) torch.ModuleDef
	start    func(in, out, kernel int64) torch.Start // of a convolution
	shortcut string                                  // name of the projection, where a block has one
}

// conv is torch.nn.Conv2d without a bias; a stride of 1 keeps the size.
func (r residual) conv(in, out, kernel, stride int64) torch.ModuleDef {
	return torch.ModuleDef{
		Class:  "tandem.Conv2d",
		Params: []torch.ParamDef{{Name: "weight", Shape: []int64{out, in, kernel, kernel}, Init: r.start(in, out, kernel)}},
		Forward: fmt.Sprintf("def forward(self, x: Tensor) -> Tensor:\n"+
			"    return torch.conv2d(x, self.weight, None, [%d, %d], [%d, %d], [1, 1], 1)\n", stride, stride, kernel/2, kernel/2),
	}
}

// block is two convolutions beside a shortcut, which projects where the shape changes.
func (r residual) block(in, out, stride int64) torch.ModuleDef {
	def := torch.ModuleDef{
		Class: "tandem.BasicBlock",
		Children: []torch.ChildDef{{Name: "conv1", Module: r.conv(in, out, 3, stride)}, {Name: "bn1", Module: r.norm(out)},
			{Name: "conv2", Module: r.conv(out, out, 3, 1)}, {Name: "bn2", Module: r.norm(out)}},
	}
	shortcut := "x"
	if stride != 1 || in != out {
		var project sequential
		project.layer(r.conv(in, out, 1, stride))
		project.layer(r.norm(out))
		def.Children = append(def.Children, torch.ChildDef{Name: r.shortcut, Module: project.module()})
		shortcut = "self." + r.shortcut + ".forward(x)"
	}
	def.Forward = "def forward(self, x: Tensor) -> Tensor:\n" +
		"    y = torch.relu(self.bn1.forward(self.conv1.forward(x)))\n" +
		"    return torch.relu(self.bn2.forward(self.conv2.forward(y)) + " + shortcut + ")\n"
	return def
}

// batchNorm is torch.nn.BatchNorm2d. As there, one value a channel cannot be normalised in training.
func batchNorm(channels int64) torch.ModuleDef {
	shape := []int64{channels}
	return torch.ModuleDef{
		Class:  "tandem.BatchNorm2d",
		Params: []torch.ParamDef{{Name: "weight", Shape: shape, Init: ones}, {Name: "bias", Shape: shape}},
		Buffers: []torch.ParamDef{{Name: "running_mean", Shape: shape}, {Name: "running_var", Shape: shape, Init: ones},
			{Name: "num_batches_tracked", Integer: true}},
		Forward: "def forward(self, x: Tensor) -> Tensor:\n" +
			"    if self.training:\n" +
			"        assert x.numel() != x.size(1), \"batch normalisation needs more than one value a channel: use a larger training.batch or fewer workers\"\n" +
			"        self.num_batches_tracked.add_(1)\n" +
			"    return torch.batch_norm(x, self.weight, self.bias, self.running_mean, self.running_var, self.training, 0.1, 1e-05, True)\n",
	}
}
