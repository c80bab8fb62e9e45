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
//
// Decided on 2026-11-30: the gateway is made of versitygw's s3api, not of its embedgw. That one can be configured for all identity services,
// event sinks and metrics there are, so that the linker keeps the clients of LDAP, Vault, RabbitMQ, statsd and the SDK of AWS: tandem had 99.3 MB
// with it and has 82.7 MB without (go build, linux/amd64; go tool nm -size says which symbols are gone). Nor is its admin API served,
// which embedgw puts on the same port. What stays is 0.6 MB of NATS, Kafka and AWS, which packages of s3api import; there is no build tag for these.
// Rejected: a fork, which would have to follow each release for those.
package embedded
