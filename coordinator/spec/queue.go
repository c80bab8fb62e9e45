package spec

// CheckQueue checks the priority and the pool that a job is to have; nil: it keeps its own. What is wrong comes as an *Error.
func CheckQueue(priority *int32, pool *string) error {
	c := &check{}
	if priority != nil {
		c.priority(*priority)
	}
	if pool != nil {
		c.pool("pool", *pool)
	}
	return c.err()
}

func (c *check) priority(p int32) { between(c, "priority", p, -maxPriority, maxPriority) }

func (c *check) pool(path, name string) {
	if !IsName(name) {
		c.add(path, NameRule)
	}
}
