package torch

// WithForeach makes the optimizer use torch's list operators.
func (c TrainerConfig) WithForeach() TrainerConfig {
	c.foreach = true
	return c
}

// Busy says whether a collective is going on.
func (g *Group) Busy() bool {
	if g.mu.TryLock() {
		g.mu.Unlock()
		return false
	}
	return true
}
