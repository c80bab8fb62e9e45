package s3

import (
	"net/http"

	"github.com/minio/minio-go/v7"

	"tandem.dev/storage"
)

// meanings says what error codes of S3 servers mean for the contract, where the status of the answer says something else, or differs
// between servers. Sources: "Error responses" of the Amazon S3 API reference, and those of MinIO, Ceph and Garage.
var meanings = map[string]error{
	// The keys are not good, or not any more: whoever asks with them has done nothing wrong.
	"AccessDenied":                 storage.ErrDenied,
	"AccountProblem":               storage.ErrDenied,
	"AllAccessDisabled":            storage.ErrDenied,
	"AuthorizationHeaderMalformed": storage.ErrDenied, // signed for another region
	"CredentialsNotSupported":      storage.ErrDenied,
	"ExpiredToken":                 storage.ErrDenied,
	"ExpiredTokenException":        storage.ErrDenied,
	"InvalidAccessKeyId":           storage.ErrDenied,
	"InvalidClientTokenId":         storage.ErrDenied,
	"InvalidPayer":                 storage.ErrDenied,
	"InvalidSecurity":              storage.ErrDenied,
	"InvalidToken":                 storage.ErrDenied,
	"MissingAuthenticationToken":   storage.ErrDenied,
	"MissingSecurityHeader":        storage.ErrDenied,
	"NotSignedUp":                  storage.ErrDenied,
	"SignatureDoesNotMatch":        storage.ErrDenied,
	"TokenRefreshRequired":         storage.ErrDenied,
	"UnauthorizedAccess":           storage.ErrDenied,
	"UnrecognizedClientException":  storage.ErrDenied,
	"UserSuspended":                storage.ErrDenied,

	// The store serves nobody now, or not so many at once. What is signed too early or too late is signed again.
	"BandwidthLimitExceeded":         storage.ErrUnavailable,
	"InternalError":                  storage.ErrUnavailable,
	"OperationAborted":               storage.ErrUnavailable,
	"RequestExpired":                 storage.ErrUnavailable,
	"RequestLimitExceeded":           storage.ErrUnavailable,
	"RequestThrottled":               storage.ErrUnavailable,
	"RequestTimeTooSkewed":           storage.ErrUnavailable,
	"RequestTimeout":                 storage.ErrUnavailable,
	"ServiceUnavailable":             storage.ErrUnavailable,
	"SlowDown":                       storage.ErrUnavailable,
	"SlowDownRead":                   storage.ErrUnavailable,
	"SlowDownWrite":                  storage.ErrUnavailable,
	"Throttling":                     storage.ErrUnavailable,
	"ThrottlingException":            storage.ErrUnavailable,
	"XMinioServerNotInitialized":     storage.ErrUnavailable,
	"XMinioReadQuorum":               storage.ErrUnavailable,
	"XMinioWriteQuorum":              storage.ErrUnavailable,
	"XMinioBackendDown":              storage.ErrUnavailable,
	"NoSuchBucket":                   storage.ErrUnavailable, // somebody has to make it
	"PermanentRedirect":              storage.ErrUnavailable, // the endpoint is that of another region
	"InsufficientStorage":            storage.ErrFull,
	"QuotaExceeded":                  storage.ErrFull,
	"XMinioAdminBucketQuotaExceeded": storage.ErrFull,
	"XMinioStorageFull":              storage.ErrFull,
}

// meaning is what an answer means for the contract; nil: it is none of the errors of storage.
func meaning(act string, r minio.ErrorResponse) error {
	if known := meanings[r.Code]; known != nil {
		return known
	}
	switch code := r.StatusCode; {
	case code == http.StatusNotFound:
		return storage.ErrNotFound
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return storage.ErrDenied
	case code == http.StatusBadRequest && act == "head": // it has no body to say so, and nothing else can be wrong with it
		return storage.ErrDenied
	case code == http.StatusRequestedRangeNotSatisfiable:
		return storage.ErrSize
	case code == http.StatusInsufficientStorage:
		return storage.ErrFull
	case code >= 500, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code == http.StatusConflict:
		return storage.ErrUnavailable
	}
	return nil
}
