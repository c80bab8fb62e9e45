package api

import (
	"fmt"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// model checks an architecture against the shape of the data, as far as it is known.
func (c *check) model(m *tandemv1.ModelSpec, data *tandemv1.Dataset) {
	switch a := m.GetArchitecture().(type) {
	case *tandemv1.ModelSpec_Mlp:
		c.mlp(a.Mlp)
	case *tandemv1.ModelSpec_Cnn:
		c.cnn(a.Cnn, data)
	case *tandemv1.ModelSpec_Torchscript:
		// The path is the client's affair, and the same file elsewhere is the same spec.
		a.Torchscript.File = ""
		if !sha256RE.MatchString(a.Torchscript.GetArtifact()) {
			c.add("model.torchscript.artifact", "must be the SHA-256 of an uploaded file; with the CLI set model.torchscript.file to its path")
		}
	default:
		c.add("model", "is missing: give one of mlp, cnn and torchscript")
	}
}

func (c *check) mlp(m *tandemv1.MlpSpec) {
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
	if data != nil && len(data.GetShape()) != 3 {
		c.add("model.cnn", "needs images of shape [channels, height, width], but dataset %s@%d has rows of shape %v; make it with --shape, or use model.mlp",
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
	v = or(v, "relu")
	c.oneOf(path, v, "relu", "gelu", "tanh")
	return v
}
