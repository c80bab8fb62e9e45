package model

import (
	"errors"
	"fmt"
	"math"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/torch"
)

// gpt is a decoder as in nanoGPT, with a head of its own instead of tied weights. Rows are [context] byte values as
// float32; the output is [n, outputs, context], classes second, as the cross-entropy wants it.
func gpt(spec *tandemv1.GptSpec, inputShape []int64, outputs int64) (torch.ModuleDef, error) {
	layers, width, heads := int64(spec.GetLayers()), int64(spec.GetWidth()), int64(spec.GetHeads())
	if layers == 0 {
		layers = 4
	}
	if width == 0 {
		width = 128
	}
	if heads == 0 {
		heads = 4
	}
	p := spec.GetDropout()
	err := checkDropout(p)
	if len(inputShape) != 1 {
		err = errors.Join(err, fmt.Errorf("a gpt needs rows of shape [context], the dataset's are %v", inputShape))
	} else if c := int64(spec.GetContext()); c != 0 && c != inputShape[0] {
		err = errors.Join(err, fmt.Errorf("context is %d, but the dataset's rows have %d bytes", c, inputShape[0]))
	}
	switch {
	case layers < 1:
		err = errors.Join(err, fmt.Errorf("layers is %d, it has to be at least 1", layers))
	case width < 1 || heads < 1 || width%heads != 0:
		err = errors.Join(err, fmt.Errorf("heads is %d and width %d: heads have to share the width evenly", heads, width))
	}
	if err != nil {
		return torch.ModuleDef{}, err
	}

	// The more blocks add to the residual path, the less each of them starts with.
	onto := torch.Normal{Std: gptStd / math.Sqrt(2*float64(layers))}
	blocks := torch.ModuleDef{Class: "tandem.Blocks", Forward: "def forward(self, x: Tensor, mask: Tensor) -> Tensor:\n"}
	for i := range layers {
		name := fmt.Sprint(i)
		blocks.Children = append(blocks.Children, torch.ChildDef{Name: name, Module: gptBlock(width, heads, p, onto)})
		blocks.Forward += fmt.Sprintf("    x = getattr(self, %q).forward(x, mask)\n", name)
	}
	blocks.Forward += "    return x\n"
	return torch.ModuleDef{
		Class: "tandem.Gpt",
		Children: []torch.ChildDef{{Name: "wte", Module: embedding(outputs, width)}, {Name: "wpe", Module: embedding(inputShape[0], width)},
			{Name: "blocks", Module: blocks}, {Name: "ln_f", Module: layerNorm(width)}, {Name: "head", Module: gptHead(width, outputs)}},
		// 4 is int64; the mask forbids each position to look at later ones.
		Forward: "def forward(self, x: Tensor) -> Tensor:\n" +
			"    bytes = torch.to(x, 4)\n" +
			"    t = x.size(1)\n" +
			"    places = torch.arange(t, dtype=4, device=x.device)\n" +
			"    mask = torch.triu(torch.full([t, t], float(\"-inf\"), dtype=x.dtype, device=x.device), 1)\n" +
			"    x = " + dropout("self.wte.forward(bytes) + self.wpe.forward(places)", p) + "\n" +
			"    x = self.ln_f.forward(self.blocks.forward(x, mask))\n" +
			"    return torch.transpose(self.head.forward(x), 1, 2)\n",
	}, nil
}

// gptStd is the standard deviation that nanoGPT's weights start with.
const gptStd = 0.02

func gptBlock(width, heads int64, p float64, onto torch.Start) torch.ModuleDef {
	return torch.ModuleDef{
		Class: "tandem.Block",
		Children: []torch.ChildDef{{Name: "ln_1", Module: layerNorm(width)}, {Name: "attn", Module: attention(width, heads, p, onto)},
			{Name: "ln_2", Module: layerNorm(width)}, {Name: "mlp", Module: gptMlp(width, p, onto)}},
		Forward: "def forward(self, x: Tensor, mask: Tensor) -> Tensor:\n" +
			"    x = x + self.attn.forward(self.ln_1.forward(x), mask)\n" +
			"    return x + self.mlp.forward(self.ln_2.forward(x))\n",
	}
}

// attention is masked self-attention: softmax(q k / sqrt(head) + mask) v for each head. The scale is on q, which is
// the smallest of the tensors it could be on.
func attention(width, heads int64, p float64, onto torch.Start) torch.ModuleDef {
	head := width / heads
	split := func(i int) string {
		return fmt.Sprintf("torch.transpose(torch.view(qkv[%d], [n, t, %d, %d]), 1, 2)", i, heads, head)
	}
	return torch.ModuleDef{
		Class: "tandem.CausalSelfAttention",
		Children: []torch.ChildDef{{Name: "c_attn", Module: gptLinear(width, 3*width, torch.Normal{Std: gptStd})},
			{Name: "c_proj", Module: gptLinear(width, width, onto)}},
		Forward: "def forward(self, x: Tensor, mask: Tensor) -> Tensor:\n" +
			"    n = x.size(0)\n" +
			"    t = x.size(1)\n" +
			fmt.Sprintf("    qkv = torch.split(self.c_attn.forward(x), %d, 2)\n", width) +
			fmt.Sprintf("    q = %s * %.17g\n", split(0), 1/math.Sqrt(float64(head))) +
			"    k = " + split(1) + "\n" +
			"    v = " + split(2) + "\n" +
			"    weights = torch.softmax(torch.matmul(q, torch.transpose(k, 2, 3)) + mask, 3)\n" +
			"    y = torch.matmul(" + dropout("weights", p) + ", v)\n" +
			fmt.Sprintf("    y = torch.reshape(torch.transpose(y, 1, 2), [n, t, %d])\n", width) +
			"    y = self.c_proj.forward(y)\n" +
			"    return " + dropout("y", p) + "\n",
	}
}

func gptMlp(width int64, p float64, onto torch.Start) torch.ModuleDef {
	return torch.ModuleDef{
		Class: "tandem.GptMlp",
		Children: []torch.ChildDef{{Name: "c_fc", Module: gptLinear(width, 4*width, torch.Normal{Std: gptStd})},
			{Name: "c_proj", Module: gptLinear(4*width, width, onto)}},
		Forward: "def forward(self, x: Tensor) -> Tensor:\n" +
			"    y = self.c_proj.forward(torch.gelu(self.c_fc.forward(x)))\n" +
			"    return " + dropout("y", p) + "\n",
	}
}

// gptLinear is torch.nn.Linear as nanoGPT starts it.
func gptLinear(in, out int64, weight torch.Start) torch.ModuleDef {
	def := linear(in, out)
	def.Params[0].Init, def.Params[1].Init = weight, nil
	return def
}

// gptHead is a linear layer without a bias.
func gptHead(in, out int64) torch.ModuleDef {
	return torch.ModuleDef{
		Class:   "tandem.Head",
		Params:  []torch.ParamDef{{Name: "weight", Shape: []int64{out, in}, Init: torch.Normal{Std: gptStd}}},
		Forward: "def forward(self, x: Tensor) -> Tensor:\n    return torch.linear(x, self.weight)\n",
	}
}

// embedding is torch.nn.Embedding as nanoGPT starts it.
func embedding(rows, width int64) torch.ModuleDef {
	return torch.ModuleDef{
		Class:   "tandem.Embedding",
		Params:  []torch.ParamDef{{Name: "weight", Shape: []int64{rows, width}, Init: torch.Normal{Std: gptStd}}},
		Forward: "def forward(self, x: Tensor) -> Tensor:\n    return torch.embedding(self.weight, x)\n",
	}
}

// layerNorm is torch.nn.LayerNorm over the last dimension.
func layerNorm(width int64) torch.ModuleDef {
	shape := []int64{width}
	return torch.ModuleDef{
		Class:   "tandem.LayerNorm",
		Params:  []torch.ParamDef{{Name: "weight", Shape: shape, Init: ones}, {Name: "bias", Shape: shape}},
		Forward: fmt.Sprintf("def forward(self, x: Tensor) -> Tensor:\n    return torch.layer_norm(x, [%d], self.weight, self.bias)\n", width),
	}
}
