// Package model turns a model's spec into TorchScript: Define yields a
// torch.ModuleDef, one file an architecture; Build compiles it.
//
// Children and parameters are named as PyTorch names them (net.0.weight), and
// start as PyTorch's layers start, drawn from the given seed: the same spec and
// seed give the same parameters everywhere. It knows no cgo and trains nothing.
package model
