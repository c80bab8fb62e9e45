// Package printable makes text of users and programs fit for a terminal: nothing in it steers the terminal, or looks like what it is not.
//
// Invariants: text that may be shown as it is stays as it is.
//
// It is not: the width of tables, or the quotes of JSON and YAML.
package printable
