package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
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
	switch r.Code { // where the status says too little
	case "NoSuchBucket":
		return fmt.Errorf("%s: %w: there is no bucket %q at %s; make it first", where, storage.ErrUnavailable, s.config.Bucket, s.config.Endpoint)
	case "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage":
		return fmt.Errorf("%s: %w: %s says: %w; free some space, for example by deleting old checkpoints", where, storage.ErrFull, s.config.Endpoint, err)
	}
	switch code := r.StatusCode; {
	case code == http.StatusNotFound:
		return fmt.Errorf("%s: %w", where, storage.ErrNotFound)
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return fmt.Errorf("%s: %w: %s says %s: %w; check the access key, the secret key and the rights of the bucket", where, storage.ErrDenied, s.config.Endpoint, r.Code, err)
	case code == http.StatusRequestedRangeNotSatisfiable:
		return fmt.Errorf("%s: %w: the range is outside the object", where, storage.ErrSize)
	case code == http.StatusInsufficientStorage:
		return fmt.Errorf("%s: %w: %w; free some space, for example by deleting old checkpoints", where, storage.ErrFull, err)
	case code >= 500, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code == http.StatusConflict:
		return fmt.Errorf("%s: %w: %s says %s: %w", where, storage.ErrUnavailable, s.config.Endpoint, r.Code, err)
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
