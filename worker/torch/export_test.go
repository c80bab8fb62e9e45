package torch

// WithForeach makes the optimizer use torch's list operators.
func (c TrainerConfig) WithForeach() TrainerConfig {
	c.foreach = true
	return c
}

// InPlace is how many bytes of gradients are reduced where they lie.
func (g *Group) InPlace() int64 { return g.inPlace() }

// Busy says whether a collective is going on.
func (g *Group) Busy() bool {
	if g.mu.TryLock() {
		g.mu.Unlock()
		return false
	}
	return true
}

// OnHost makes the rank seem to be on another host than ranks with another name.
func (c GroupConfig) OnHost(name string) GroupConfig {
	c.host = name
	return c
}

// WithoutSegment makes the rank unable to share memory.
func (c GroupConfig) WithoutSegment() GroupConfig {
	c.noSegment = true
	return c
}

// WithoutRoom makes the rank unable to share the memory of its gradients.
func (c GroupConfig) WithoutRoom() GroupConfig {
	c.noRoom = true
	return c
}

// WakesUnderWay says whether Abort wakes also who has sent or received a part of a message over Gloo.
func WakesUnderWay() bool { return wakesUnderWay() }

// RegisteredOperators are the names of all operators of this libtorch.
func RegisteredOperators() ([]string, error) { return registeredOperators() }
