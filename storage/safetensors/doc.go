// Package safetensors writes and reads tensors in the safetensors format: a JSON header
// and raw little-endian numbers, nothing that could be executed.
//
// A file is the length N of the header (8 bytes, little-endian), N bytes of JSON that begin
// with '{' and may end with spaces, and the data. The header maps each name to
// {"dtype":..., "shape":[...], "data_offsets":[begin,end]}; offsets count from the end of
// the header. "__metadata__", if there, maps strings to strings.
//
// The reader takes nothing on trust: sizes are limited before memory is used, offsets must
// cover the data exactly (no overlap, no hole), each tensor must have the bytes that its
// dtype and shape call for, and names and fields must not be doubled or unknown. It never
// panics on any input.
//
// It knows nothing about models; see package ckpt for checkpoints.
package safetensors
