package main

import "io"

// checked is a writer that remembers its first failure, and writes nothing more after it: whoever prints a table need not look, and a
// full disk is told of once.
type checked struct {
	io.Writer
	err error
}

// Write implements io.Writer.
func (c *checked) Write(b []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.Writer.Write(b)
	c.err = err
	return n, err
}

// written is the failure of what was written to standard output so far.
func (a *app) written() error {
	if c, ok := a.out.(*checked); ok {
		return c.err
	}
	return nil
}
