package spec

import (
	"cmp"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (c *check) cnn(m *tandemv1.CnnSpec, data *tandemv1.Dataset) {
	if len(m.GetChannels()) == 0 {
		c.add("model.cnn.channels", "is missing: give the output channels of each block, such as [16, 32]")
	}
	c.widths("model.cnn.channels", m.GetChannels())
	c.widths("model.cnn.hidden", m.GetHidden())
	m.Kernel, m.Pool, m.Norm = cmp.Or(m.GetKernel(), 3), cmp.Or(m.GetPool(), 2), cmp.Or(m.GetNorm(), "none")
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
