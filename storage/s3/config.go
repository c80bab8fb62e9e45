package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"

	"tandem.dev/storage"
)

const maxOnePut = 5 << 30 // bytes; S3 takes no more in one request

// Config says where the objects are.
type Config struct {
	Endpoint  string // host or host:port, without a scheme
	Bucket    string // must exist
	Prefix    string // put before every key with a slash between; may be empty
	AccessKey string
	SecretKey string
	Region    string // empty means us-east-1
	TLS       bool   // https; without it the bytes and their signatures can be read on the way
	CAPEM     string // certificates to trust instead of the system's, PEM; may be empty

	Tries       int           // of each request; 0 means 5
	IdleTimeout time.Duration // without a byte moving on a connection; 0 means 60 s
	PartSize    int64         // bytes of a multipart upload's parts, at least 5 MiB; 0 means 16 MiB
	OnePut      int64         // bytes up to which a body that can be read again goes in one request; 0 means 256 MiB
	ListPage    int           // objects asked for at a time; 0 means the server's maximum
}

// Settings are a Config as it is sent between processes; the message of the schema has
// these methods.
type Settings interface {
	GetEndpoint() string
	GetBucket() string
	GetPrefix() string
	GetRegion() string
	GetAccessKey() string
	GetSecretKey() string
	GetTls() bool
	GetCaPem() string
}

// ConfigOf returns the Config that settings describe.
func ConfigOf(s Settings) Config {
	return Config{
		Endpoint: s.GetEndpoint(), Bucket: s.GetBucket(), Prefix: s.GetPrefix(), Region: s.GetRegion(),
		AccessKey: s.GetAccessKey(), SecretKey: s.GetSecretKey(), TLS: s.GetTls(), CAPEM: s.GetCaPem(),
	}
}

// regionRE is what a region may be: it stands in the headers of requests, as the access key does.
var regionRE = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// withDefaults fills in what is zero and refuses what cannot work.
func (c Config) withDefaults() (Config, error) {
	if strings.Contains(c.Endpoint, "://") {
		return c, fmt.Errorf("endpoint %q: write host:port without a scheme, and set TLS", c.Endpoint)
	}
	if c.Endpoint == "" || c.Bucket == "" {
		return c, errors.New("an endpoint and a bucket are needed")
	}
	if err := s3utils.CheckValidBucketNameStrict(c.Bucket); err != nil {
		return c, fmt.Errorf("bucket %q: %w", c.Bucket, err)
	}
	if c.Prefix != "" {
		if err := storage.CheckKey(c.Prefix); err != nil {
			return c, fmt.Errorf("prefix: %w", err)
		}
	}
	if c.Region == "" {
		c.Region = "us-east-1"
	}
	if !regionRE.MatchString(c.Region) {
		return c, fmt.Errorf("region %.40q: must have letters, digits and -._ only, at most 64", c.Region)
	}
	if strings.ContainsFunc(c.AccessKey, unicode.IsControl) {
		return c, fmt.Errorf("access key %.40q: must not have control characters", c.AccessKey)
	}
	if c.Tries == 0 {
		c.Tries = 5
	}
	if c.IdleTimeout == 0 {
		c.IdleTimeout = time.Minute
	}
	if c.PartSize == 0 {
		c.PartSize = 16 << 20
	}
	if c.OnePut == 0 {
		c.OnePut = max(256<<20, c.PartSize)
	}
	if c.PartSize < 5<<20 || c.OnePut < c.PartSize || c.OnePut > maxOnePut {
		return c, fmt.Errorf("parts must have at least 5 MiB, and one request at least a part and at most %d bytes", int64(maxOnePut))
	}
	if c.Tries < 1 || c.IdleTimeout < 0 || c.ListPage < 0 {
		return c, errors.New("tries must be positive, timeouts and pages not negative")
	}
	return c, nil
}

// New makes a store. It does not talk to the server; storage.Probe does.
func New(c Config) (*Store, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("s3 storage: %w", err)
	}
	transport, err := c.transport()
	if err != nil {
		return nil, fmt.Errorf("s3 storage: %w", err)
	}
	clock := &clock{RoundTripper: transport}
	client, err := minio.New(c.Endpoint, &minio.Options{
		Creds:      credentials.NewStaticV4(c.AccessKey, c.SecretKey, ""),
		Secure:     c.TLS,
		Transport:  lender{clock},
		Region:     c.Region,
		MaxRetries: c.Tries,
	})
	if err != nil {
		return nil, fmt.Errorf("s3 storage: endpoint %s: %w", c.Endpoint, err)
	}
	return &Store{config: c, core: minio.Core{Client: client}, transport: transport, clock: clock}, nil
}

func (c Config) transport() (*http.Transport, error) {
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		MaxIdleConnsPerHost:   32,
		IdleConnTimeout:       c.IdleTimeout / 2,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: 10 * time.Second,
		DisableCompression:    true, // else a .gz object would come out unpacked
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return idleConn{conn, c.IdleTimeout}, nil
	}
	if c.CAPEM != "" {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM([]byte(c.CAPEM)) {
			return nil, errors.New("the CA holds no PEM certificate")
		}
		t.TLSClientConfig.RootCAs = pool
	}
	return t, nil
}

// idleConn fails a read or write that does not move for so long. A deadline for a whole
// request would have to know how large the object and how slow the network is.
type idleConn struct {
	net.Conn
	timeout time.Duration
}

func (c idleConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c idleConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
