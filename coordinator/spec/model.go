package spec

import (
	"cmp"
	"fmt"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// model checks an architecture against the shape of the data, as far as it is known.
func (c *check) model(m *tandemv1.ModelSpec, data *tandemv1.Dataset) {
	switch a := m.GetArchitecture().(type) {
	case *tandemv1.ModelSpec_Mlp:
		c.mlp(a.Mlp, data)
	case *tandemv1.ModelSpec_Cnn:
		c.cnn(a.Cnn, data)
	case *tandemv1.ModelSpec_Resnet:
		c.resnet(a.Resnet, data)
	case *tandemv1.ModelSpec_Gpt:
		c.gpt(a.Gpt, data)
	case *tandemv1.ModelSpec_Torchscript:
		// The path is the client's affair, and the same file elsewhere is the same spec.
		a.Torchscript.File = ""
		if !IsSHA256(a.Torchscript.GetArtifact()) {
			c.add("model.torchscript.file", "is missing: give the path of the file; without the CLI upload it and give its SHA-256 as artifact")
		}
	default:
		c.add("model", "is missing: give one of mlp, cnn, resnet, gpt and torchscript")
	}
}

func (c *check) images(path string, data *tandemv1.Dataset) {
	if data != nil && len(data.GetShape()) != 3 {
		c.add(path, "needs images of shape [channels, height, width], but dataset %s@%d has rows of shape %v; make it with --shape, or use model.mlp",
			data.GetName(), data.GetVersion(), data.GetShape())
	}
}

func (c *check) widths(path string, widths []int32) {
	if len(widths) > maxLayers {
		c.add(path, "has %d layers, at most %d are allowed", len(widths), maxLayers)
		return
	}
	for i, w := range widths {
		between(c, fmt.Sprintf("%s[%d]", path, i), w, 1, maxWidth)
	}
}

func (c *check) activation(path, v string) string {
	v = cmp.Or(v, "relu")
	c.oneOf(path, v, "relu", "gelu", "tanh")
	return v
}
