package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/minio/minio-go/v7"

	"tandem.dev/storage"
)

// status is the HTTP status of an answer, 0 if there was none.
func status(err error) int {
	if r, ok := errors.AsType[minio.ErrorResponse](err); ok {
		return r.StatusCode
	}
	return 0
}

// fail gives an error of minio-go the meaning that the contract has for it.
func (s *Store) fail(ctx context.Context, act, key string, err error) error {
	where := fmt.Sprintf("%s %s", act, key)
	if cause := ctx.Err(); cause != nil {
		return fmt.Errorf("%s: %w", where, cause)
	}
	for _, known := range []error{storage.ErrSize, storage.ErrUnavailable} {
		if errors.Is(err, known) {
			return fmt.Errorf("%s: %w", where, err)
		}
	}
	r, answered := errors.AsType[minio.ErrorResponse](err)
	if !answered {
		return fmt.Errorf("%s: %w: %s: %w%s", where, storage.ErrUnavailable, s.config.Endpoint, err, connectHint(err))
	}
	if why := s.clock.explain(act, r); why != "" {
		return fmt.Errorf("%s: %w: %s", where, storage.ErrUnavailable, why)
	}
	kind := meaning(act, r)
	switch {
	case r.Code == "NoSuchBucket":
		return fmt.Errorf("%s: %w: there is no bucket %q at %s; make it first", where, kind, s.config.Bucket, s.config.Endpoint)
	case errors.Is(kind, storage.ErrNotFound):
		return fmt.Errorf("%s: %w", where, kind)
	case errors.Is(kind, storage.ErrSize):
		return fmt.Errorf("%s: %w: the range is outside the object", where, kind)
	case errors.Is(kind, storage.ErrFull):
		return fmt.Errorf("%s: %w: %s says: %w; free some space, for example by deleting old checkpoints", where, kind, s.config.Endpoint, err)
	case errors.Is(kind, storage.ErrDenied):
		return fmt.Errorf("%s: %w: %s says %s: %w; check the access key, the secret key, their end, the region and the rights of the bucket",
			where, kind, s.config.Endpoint, r.Code, err)
	case kind != nil:
		return fmt.Errorf("%s: %w: %s says %s: %w", where, kind, s.config.Endpoint, r.Code, err)
	}
	return fmt.Errorf("%s: %s says %s: %w", where, s.config.Endpoint, r.Code, err)
}

// connectHint says what to do about the usual mistakes in a configuration.
func connectHint(err error) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "; give the CA that signed the server's certificate"
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired && invalid.Cert != nil {
		return fmt.Sprintf("; the server's certificate is valid from %s to %s, and the clock of this machine says %s: renew the certificate, or set the clock",
			clockText(invalid.Cert.NotBefore), clockText(invalid.Cert.NotAfter), clockText(time.Now()))
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "; the server's certificate is for another name"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "; the server speaks no TLS on this port"
	}
	return ""
}
