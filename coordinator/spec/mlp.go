package spec

import (
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (c *check) mlp(m *tandemv1.MlpSpec, data *tandemv1.Dataset) {
	if data.GetTask() == "language" {
		c.add("model.mlp", "gives one answer for a row, but dataset %s@%d is text, which wants one for each byte; use model.gpt", data.GetName(), data.GetVersion())
	}
	c.widths("model.mlp.hidden", m.GetHidden())
	m.Activation = c.activation("model.mlp.activation", m.GetActivation())
	c.share("model.mlp.dropout", m.GetDropout())
}
