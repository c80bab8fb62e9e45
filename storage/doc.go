// Package storage is the contract between Tandem and the place where its bytes live:
// datasets, checkpoints, published versions and logs.
//
// Store is the contract. Package s3 implements it over any S3-compatible server,
// package embedded is such a server for one machine, package memstore keeps objects in
// memory and can be told to fail. Package storetest holds the one suite that all of them
// pass. Persist outlasts an outage, which a full store is too, and with Patient refused keys are one. Packages safetensors, ckpt, dataset and sealed are the formats kept in a Store.
//
// Invariants: objects are immutable (a key is never reused for other bytes), and a small
// object written with PutIfAbsent is the only way to commit anything. Everything else may
// be there half-written and must not be looked at before its commit.
//
// It is not a file system: there is no rename, no append, and no lock.
package storage
