//go:build !previous

package schema

// behind is how many levels this program leaves out.
const behind = 0
