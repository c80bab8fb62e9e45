// Package embedded is an S3 server for one machine: versitygw over a local folder, in this
// process. With it a cluster needs no other storage, and everything still goes through the
// one S3 client that also talks to AWS and the others.
//
// Below Config.Dir, "buckets" holds one folder a bucket and one file an object, which any
// tool can read. Metadata is in extended attributes, or, where the file system has none, in
// "sidecar". Every object is fsynced before its writer gets an answer.
//
// Two things to know. Only one Server can exist in a process at a time (versitygw keeps
// globals). And New makes "buckets" the working directory of the process (versitygw opens
// objects by relative paths), so resolve relative paths before: see New.
//
// It listens on loopback unless it has a certificate.
package embedded
