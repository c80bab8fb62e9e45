// Package rest finds out which procedure a request means, by the paths of the schema, and speaks the two kinds of JSON: that of procedures
// and that of REST.
//
// Types to know: Router (which procedure stands at a path), the codecs NewStrictJSON and NewPlainJSON, Sizes (how much a request may hold).
//
// Invariants: what a path means is known before anything of the request is read; all errors outside of procedures have one form
// (ErrorJSON).
//
// It is not about who may call what, nor about what a procedure does: that is package api.
package rest
