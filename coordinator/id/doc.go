// Package id mints the identities of rows: a noun, "-" and a ULID in lower case, so that they sort by creation.
package id
