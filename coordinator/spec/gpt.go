package spec

import (
	"cmp"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (c *check) gpt(m *tandemv1.GptSpec, data *tandemv1.Dataset) {
	m.Layers, m.Width, m.Heads = cmp.Or(m.GetLayers(), 4), cmp.Or(m.GetWidth(), 128), cmp.Or(m.GetHeads(), 4)
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
	} else if m.Context = cmp.Or(m.GetContext(), int32(shape[0])); int64(m.GetContext()) != shape[0] {
		c.add("model.gpt.context", "is %d, but the rows of dataset %s@%d have %d bytes; leave it out", m.GetContext(), data.GetName(), data.GetVersion(), shape[0])
	}
}
