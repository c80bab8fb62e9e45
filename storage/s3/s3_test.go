package s3

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"tandem.dev/storage"
	"tandem.dev/storage/storetest"
)

// fake starts an S3 server in this process. It speaks TLS with a certificate that only its
// own CA vouches for. wrap, if not nil, stands before it.
func fake(t *testing.T, wrap func(http.Handler) http.Handler) Config {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("bucket"); err != nil {
		t.Fatal(err)
	}
	h := gofakes3.New(backend).Server()
	if wrap != nil {
		h = wrap(h)
	}
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	return Config{
		Endpoint: strings.TrimPrefix(srv.URL, "https://"), Bucket: "bucket", AccessKey: "a", SecretKey: "s",
		TLS: true, CAPEM: string(ca), PartSize: 5 << 20, ListPage: 3, Tries: 3,
	}
}

func open(t *testing.T, c Config) *Store {
	t.Helper()
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestConformance(t *testing.T) {
	for _, prefix := range []string{"", "some/prefix"} {
		t.Run("prefix="+strings.ReplaceAll(prefix, "/", "."), func(t *testing.T) {
			c := fake(t, nil)
			c.Prefix = prefix
			storetest.Run(t, storetest.Suite{
				New:      func(t *testing.T) storage.Store { return open(t, c) },
				Large:    11 << 20,
				ListPage: c.ListPage,
			})
		})
	}
}

// first answers the first n requests that match with f, and passes on the others.
func first(n int, match func(*http.Request) bool, f func(http.ResponseWriter, *http.Request, http.Handler)) func(http.Handler) http.Handler {
	var count atomic.Int64
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if match(r) && count.Add(1) <= int64(n) {
				f(w, r, next)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

func method(m string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == m }
}

func answer(status int, code string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>as planned</Message></Error>", code)
	}
}

// settings are those of the schema, which this package does not know.
type settings struct{}

func (settings) GetEndpoint() string  { return "store:9000" }
func (settings) GetBucket() string    { return "bucket" }
func (settings) GetPrefix() string    { return "prefix" }
func (settings) GetRegion() string    { return "region" }
func (settings) GetAccessKey() string { return "access" }
func (settings) GetSecretKey() string { return "secret" }
func (settings) GetTls() bool         { return true }
func (settings) GetCaPem() string     { return "ca" }

func TestConfigOf(t *testing.T) {
	want := Config{
		Endpoint: "store:9000", Bucket: "bucket", Prefix: "prefix", Region: "region",
		AccessKey: "access", SecretKey: "secret", TLS: true, CAPEM: "ca",
	}
	if got := ConfigOf(settings{}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestTriesAgain(t *testing.T) {
	for name, wrap := range map[string]func(http.Handler) http.Handler{
		"busy":     first(2, method("PUT"), answer(503, "SlowDown")),
		"conflict": first(2, method("PUT"), answer(409, "ConditionalRequestConflict")),
		"lost answer": first(1, method("PUT"), func(_ http.ResponseWriter, r *http.Request, next http.Handler) {
			next.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler) // the connection ends without a word
		}),
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, fake(t, wrap))
			if err := s.PutIfAbsent(t.Context(), "k", []byte("mine")); err != nil {
				t.Fatal(err)
			}
			if err := s.PutIfAbsent(t.Context(), "k", []byte("other")); !errors.Is(err, storage.ErrExists) {
				t.Errorf("another writer: %v", err)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		code   string
		want   error
		text   string
	}{
		"denied":      {403, "AccessDenied", storage.ErrDenied, "check the access key"},
		"bad secret":  {403, "SignatureDoesNotMatch", storage.ErrDenied, "check the access key"},
		"quota":       {403, "QuotaExceeded", storage.ErrFull, "free some space"},
		"full":        {507, "InsufficientStorage", storage.ErrFull, "free some space"},
		"minio full":  {507, "XMinioStorageFull", storage.ErrFull, "free some space"},
		"minio quota": {400, "XMinioAdminBucketQuotaExceeded", storage.ErrFull, "free some space"},
		"too large":   {400, "EntityTooLarge", nil, "as planned"}, // of one object: no room that anybody makes helps
		"no bucket":   {404, "NoSuchBucket", storage.ErrUnavailable, "make it first"},
		"unavailable": {503, "ServiceUnavailable", storage.ErrUnavailable, "as planned"},
		"conflict":    {409, "OperationAborted", storage.ErrUnavailable, "as planned"},

		// Statuses are those of Amazon's reference: where it says 400, the status alone would blame the request.
		"ended":         {400, "ExpiredToken", storage.ErrDenied, "their end"},
		"no such token": {400, "InvalidToken", storage.ErrDenied, "check the access key"},
		"stale token":   {400, "TokenRefreshRequired", storage.ErrDenied, "check the access key"},
		"wrong region":  {400, "AuthorizationHeaderMalformed", storage.ErrDenied, "the region"},
		"no account":    {400, "CredentialsNotSupported", storage.ErrDenied, "check the access key"},
		"unpaid":        {403, "AccountProblem", storage.ErrDenied, "check the access key"},
		"unknown key":   {403, "InvalidAccessKeyId", storage.ErrDenied, "check the access key"},
		"clock":         {403, "RequestTimeTooSkewed", storage.ErrUnavailable, "the clocks differ"},
		"slow client":   {400, "RequestTimeout", storage.ErrUnavailable, "as planned"},
		"too many":      {400, "RequestLimitExceeded", storage.ErrUnavailable, "as planned"},
		"bad request":   {400, "InvalidArgument", nil, "as planned"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := fake(t, first(100, method("PUT"), answer(c.status, c.code)))
			cfg.Tries = 1
			s := open(t, cfg)
			if out := storage.IsOutage(storage.Patient(s).PutIfAbsent(t.Context(), "k", nil)); out != (c.want != nil) {
				t.Errorf("who holds the keys of the cluster waits: %t", out)
			}
			for _, err := range []error{s.PutIfAbsent(t.Context(), "k", nil), s.Put(t.Context(), "k", strings.NewReader("x"), 1)} {
				if c.want != nil && !errors.Is(err, c.want) || c.want == nil && storage.IsOutage(err) || !strings.Contains(err.Error(), c.text) {
					t.Errorf("error %v, want %v with %q", err, c.want, c.text)
				}
			}
		})
	}
}

// TestHeadSaysNothing: the answer to HEAD has no body. Of a key that was checked before, nothing but the keys can be a bad request.
func TestHeadSaysNothing(t *testing.T) {
	for status, want := range map[int]error{400: storage.ErrDenied, 401: storage.ErrDenied, 403: storage.ErrDenied, 404: storage.ErrNotFound} {
		cfg := fake(t, first(100, method("HEAD"), func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(status) }))
		cfg.Tries = 1
		if _, err := open(t, cfg).Head(t.Context(), "k"); !errors.Is(err, want) {
			t.Errorf("%d: %v", status, err)
		}
	}
}

func TestConnectionErrors(t *testing.T) {
	good := fake(t, nil)
	for name, c := range map[string]struct {
		change func(*Config)
		text   string
	}{
		"unknown CA":  {func(c *Config) { c.CAPEM = "" }, "give the CA"},
		"wrong name":  {func(c *Config) { c.Endpoint = strings.Replace(c.Endpoint, "127.0.0.1", "localhost", 1) }, "for another name"},
		"nobody home": {func(c *Config) { c.Endpoint = "127.0.0.1:1" }, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			cfg.Tries = 1
			c.change(&cfg)
			_, err := open(t, cfg).Head(t.Context(), "k")
			if !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v, want %q", err, c.text)
			}
		})
	}
	for name, change := range map[string]func(*Config){
		"scheme": func(c *Config) { c.Endpoint = "https://" + c.Endpoint },
		"bucket": func(c *Config) { c.Bucket = "B" },
		"none":   func(c *Config) { c.Endpoint = "" },
		"region": func(c *Config) { c.Region = "x\ny" },
		"key":    func(c *Config) { c.AccessKey = "a\r\nb" },
		"ca":     func(c *Config) { c.CAPEM = "nonsense" },
		"prefix": func(c *Config) { c.Prefix = "/x" },
		"part":   func(c *Config) { c.PartSize = 1 },
		"one":    func(c *Config) { c.OnePut = c.PartSize - 1 },
		"large":  func(c *Config) { c.OnePut = maxOnePut + 1 },
	} {
		cfg := good
		change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A body that can be read again goes in one request, of which a failed try begins again; a larger one in parts.
func TestOnePut(t *testing.T) {
	const limit = 8 << 20
	content := make([]byte, limit+1)
	_, _ = rand.NewChaCha8([32]byte{}).Read(content) // never fails
	for name, c := range map[string]struct {
		size     int64
		requests []string
	}{
		"one":   {limit, []string{"PUT", "PUT"}},
		"parts": {limit + 1, []string{"POST", "PUT", "PUT", "PUT", "POST"}},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var requests []string
			busy := first(1, method("PUT"), func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				_, _ = io.CopyN(io.Discard, r.Body, 1<<20)
				answer(503, "SlowDown")(w, r, next)
			})
			cfg := fake(t, func(next http.Handler) http.Handler {
				next = busy(next)
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Method == "PUT" || r.Method == "POST" {
						mu.Lock()
						requests = append(requests, r.Method)
						mu.Unlock()
					}
					next.ServeHTTP(w, r)
				})
			})
			cfg.OnePut = limit
			s := open(t, cfg)
			lent := bytes.Clone(content[:c.size])
			if err := s.Put(t.Context(), "k", io.NewSectionReader(bytes.NewReader(lent), 0, c.size), c.size); err != nil {
				t.Fatal(err)
			}
			clear(lent) // the first try reads it no more, says the race detector
			got, err := storage.ReadAll(t.Context(), s, "k", limit+1)
			if err != nil || !bytes.Equal(got, content[:c.size]) {
				t.Errorf("%d bytes came back as %d, %v", c.size, len(got), err)
			}
			if !slices.Equal(requests, c.requests) {
				t.Errorf("asked %v, want %v", requests, c.requests)
			}
		})
	}
}

// What is sent in one request has its checksum in front, so that no server takes a part of it for the whole.
func TestChecksumIsAnnounced(t *testing.T) {
	var got []string
	s := open(t, fake(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == "PUT" {
				got = append(got, r.Header.Get("x-amz-checksum-crc32c"))
			}
			next.ServeHTTP(w, r)
		})
	}))
	const text = "123456789"
	for _, err := range []error{
		s.Put(t.Context(), "a", strings.NewReader(text), 9),
		s.Put(t.Context(), "b", io.NewSectionReader(strings.NewReader("0"+text), 1, 9), 9),
		s.PutIfAbsent(t.Context(), "c", []byte(text)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	const want = "4waSgw==" // 0xe3069283, the check value of CRC-32C
	if !slices.Equal(got, []string{want, want, want}) {
		t.Errorf("announced %q, want %q", got, want)
	}
	short := io.NewSectionReader(strings.NewReader(text), 0, 10)
	if err := s.Put(t.Context(), "d", short, 10); !errors.Is(err, storage.ErrSize) || len(got) != 3 {
		t.Errorf("a body that is shorter than it says: %v, after %d requests", err, len(got))
	}
}

// A server that takes a request and then says nothing must not block a caller for ever.
func TestIdleTimeout(t *testing.T) {
	over := make(chan struct{})
	c := fake(t, first(100, method("HEAD"), func(http.ResponseWriter, *http.Request, http.Handler) { <-over }))
	t.Cleanup(func() { close(over) }) // before the server is closed
	c.IdleTimeout, c.Tries = 50*time.Millisecond, 1
	if _, err := open(t, c).Head(t.Context(), "k"); !errors.Is(err, storage.ErrUnavailable) {
		t.Error(err)
	}
}

// A body that ends early must not pass for a short object.
func TestTruncatedBody(t *testing.T) {
	c := fake(t, first(1, method("GET"), func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Length", "100")
		w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
		fmt.Fprint(w, "short")
	}))
	if _, err := storage.ReadAll(t.Context(), open(t, c), "k", 1000); !errors.Is(err, storage.ErrUnavailable) && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

// A server that does not know conditional writes must be refused at start.
func TestProbeFindsMissingConditions(t *testing.T) {
	s := open(t, fake(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("If-None-Match")
			next.ServeHTTP(w, r)
		})
	}))
	if err := storage.Probe(t.Context(), s); err == nil || !strings.Contains(err.Error(), "If-None-Match") {
		t.Error(err)
	}
}

// A server that ignores ranges would hand out wrong bytes.
func TestRangeIgnored(t *testing.T) {
	s := open(t, fake(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("Range")
			next.ServeHTTP(w, r)
		})
	}))
	if err := s.Put(t.Context(), "k", strings.NewReader("0123456789"), 10); err != nil {
		t.Fatal(err)
	}
	if _, err := s.GetRange(t.Context(), "k", 5, 2); !errors.Is(err, storage.ErrSize) {
		t.Error(err)
	}
}
