// Package s3 is storage.Store over any S3-compatible server, by minio-go: AWS, Ceph, Garage,
// MinIO, and the embedded one.
//
// Commits (PutIfAbsent) are one PutObject with "If-None-Match: *". A multipart upload
// cannot commit, for minio-go drops that header when it completes one. What is sent in one
// request is announced with its CRC32C, so that what a lost writer sent is not an object. Requests
// are tried again with a growing pause, and a try that is over reads no more of its body (lender);
// a connection on which nothing moves for Config.IdleTimeout is given up. Use storage.Probe once
// before trusting a server.
//
// It makes no buckets and keeps no state.
package s3
