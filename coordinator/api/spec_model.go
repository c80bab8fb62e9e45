package api

import (
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
		if !sha256RE.MatchString(a.Torchscript.GetArtifact()) {
			c.add("model.torchscript.file", "is missing: give the path of the file; without the CLI upload it and give its SHA-256 as artifact")
		}
	default:
		c.add("model", "is missing: give one of mlp, cnn, resnet, gpt and torchscript")
	}
}

func (c *check) mlp(m *tandemv1.MlpSpec, data *tandemv1.Dataset) {
	if data.GetTask() == "language" {
		c.add("model.mlp", "gives one answer for a row, but dataset %s@%d is text, which wants one for each byte; use model.gpt", data.GetName(), data.GetVersion())
	}
	c.widths("model.mlp.hidden", m.GetHidden())
	m.Activation = c.activation("model.mlp.activation", m.GetActivation())
	c.share("model.mlp.dropout", m.GetDropout())
}

func (c *check) cnn(m *tandemv1.CnnSpec, data *tandemv1.Dataset) {
	if len(m.GetChannels()) == 0 {
		c.add("model.cnn.channels", "is missing: give the output channels of each block, such as [16, 32]")
	}
	c.widths("model.cnn.channels", m.GetChannels())
	c.widths("model.cnn.hidden", m.GetHidden())
	m.Kernel, m.Pool, m.Norm = or(m.GetKernel(), 3), or(m.GetPool(), 2), or(m.GetNorm(), "none")
	between(c, "model.cnn.kernel", m.GetKernel(), 1, 31)
	if m.GetKernel()%2 == 0 {
		c.add("model.cnn.kernel", "must be odd")
	}
	between(c, "model.cnn.pool", m.GetPool(), 1, 16)
	c.oneOf("model.cnn.norm", m.GetNorm(), "none", "group")
	m.Activation = c.activation("model.cnn.activation", m.GetActivation())
	c.share("model.cnn.dropout", m.GetDropout())
	c.images("model.cnn", data)
}

func (c *check) resnet(m *tandemv1.ResnetSpec, data *tandemv1.Dataset) {
	small := m.GetDepth() == 8
	if !small && m.GetDepth() != 18 {
		c.add("model.resnet.depth", "must be 8 or 18")
	}
	m.Norm = or(m.GetNorm(), "batch")
	c.oneOf("model.resnet.norm", m.GetNorm(), "batch", "group")
	if shape := data.GetShape(); len(shape) == 3 {
		stem := "small"
		if !small && max(shape[1], shape[2]) > 64 {
			stem = "imagenet"
		}
		m.Stem = or(m.GetStem(), stem)
	}
	switch {
	case small && m.GetStem() == "imagenet":
		c.add("model.resnet.stem", "\"imagenet\" belongs to depth 18")
	case m.GetStem() != "":
		c.oneOf("model.resnet.stem", m.GetStem(), "small", "imagenet")
	}
	c.images("model.resnet", data)
}

func (c *check) images(path string, data *tandemv1.Dataset) {
	if data != nil && len(data.GetShape()) != 3 {
		c.add(path, "needs images of shape [channels, height, width], but dataset %s@%d has rows of shape %v; make it with --shape, or use model.mlp",
			data.GetName(), data.GetVersion(), data.GetShape())
	}
}

func (c *check) gpt(m *tandemv1.GptSpec, data *tandemv1.Dataset) {
	m.Layers, m.Width, m.Heads = or(m.GetLayers(), 4), or(m.GetWidth(), 128), or(m.GetHeads(), 4)
	between(c, "model.gpt.layers", m.GetLayers(), 1, maxLayers)
	between(c, "model.gpt.width", m.GetWidth(), 1, maxWidth)
	between(c, "model.gpt.heads", m.GetHeads(), 1, maxWidth)
	if m.GetHeads() > 0 && m.GetWidth()%m.GetHeads() != 0 {
		c.add("model.gpt.heads", "%d heads cannot share a width of %d evenly", m.GetHeads(), m.GetWidth())
	}
	c.share("model.gpt.dropout", m.GetDropout())
	if data == nil {
		return
	}
	if shape := data.GetShape(); data.GetTask() != "language" || len(shape) != 1 {
		c.add("model.gpt", "needs a dataset of text, but the task of dataset %s@%d is %s; make one with tandem dataset create --text", data.GetName(), data.GetVersion(), data.GetTask())
	} else if m.Context = or(m.GetContext(), int32(shape[0])); int64(m.GetContext()) != shape[0] {
		c.add("model.gpt.context", "is %d, but the rows of dataset %s@%d have %d bytes; leave it out", m.GetContext(), data.GetName(), data.GetVersion(), shape[0])
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
	v = or(v, "relu")
	c.oneOf(path, v, "relu", "gelu", "tanh")
	return v
}
