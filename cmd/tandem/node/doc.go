// Package node has the commands about machines: below "tandem node" and "tandem pool".
//
// Types to know: Shell, which makes the commands, and Table.
//
// It is not: what becomes of the work of a machine, which coordinators decide.
package node
