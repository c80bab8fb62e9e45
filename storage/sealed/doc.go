// Package sealed writes and reads JSON documents that carry their own sha256, so that a
// damaged one is refused as a whole. Manifests of checkpoints, datasets and versions are
// sealed documents: a manifest names the sha256 of everything else, and nothing else could
// vouch for the manifest.
//
// The bytes are exactly
//
//	{"body":BODY,"sha256":"HEX"}\n
//
// where BODY is the canonical JSON of the document (fields in their declared order, map
// keys sorted, no insignificant white space, < > & not escaped) and HEX the sha256 of the
// bytes of BODY in 64 lower-case digits. Any JSON tool can read it.
//
// It is not a signature: it guards against damage, not against malice.
package sealed
