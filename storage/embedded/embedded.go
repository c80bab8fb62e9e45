package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/debuglogger"
	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3api/middlewares"
	"github.com/versity/versitygw/s3api/utils"
	"golang.org/x/sys/unix"

	"tandem.dev/storage/s3"
)

// Config of a Server.
type Config struct {
	Dir       string // folder for everything; made if it does not exist
	Listen    string // host:port; empty means 127.0.0.1:0, and port 0 picks a free one
	Bucket    string // made if it does not exist; empty means "tandem"
	AccessKey string // that clients must use
	SecretKey string // at least 16 bytes
	CertFile  string // PEM; with KeyFile turns on TLS
	KeyFile   string // PEM
	Sidecar   bool   // keep metadata in files even where extended attributes work
	// Keys returns the secret key of another access key, false for one that is not let in. It is asked at each request. nil: there are
	// no others.
	Keys func(accessKey string) (secretKey string, ok bool)
}

const region = "us-east-1"

// busy guards versitygw's globals: one Server in a process.
var busy atomic.Bool

// Server is the embedded S3 server. Make it with New, then call Run.
type Server struct {
	config   Config
	endpoint string
	backend  *durable
	ready    chan struct{}
	lock     *os.File
	oldDir   string
}

// New prepares the folder, makes the bucket and chooses the port. It changes the working
// directory of the process; Run, which must follow, changes it back when it ends. Paths in
// c may be relative to the old one.
func New(c Config) (_ *Server, err error) {
	c, err = c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("embedded storage: %w", err)
	}
	if !busy.CompareAndSwap(false, true) {
		return nil, errors.New("embedded storage: there is one in this process already")
	}
	s := &Server{config: c, ready: make(chan struct{})}
	defer func() {
		if err != nil {
			s.release()
		}
	}()
	if s.oldDir, err = os.Getwd(); err != nil {
		return nil, fmt.Errorf("embedded storage: %w", err)
	}
	if s.endpoint, err = freePort(c.Listen); err != nil {
		return nil, err
	}
	if err := s.prepare(); err != nil {
		return nil, fmt.Errorf("embedded storage: %w", hint(err))
	}
	return s, nil
}

func (c Config) withDefaults() (Config, error) {
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	if c.Bucket == "" {
		c.Bucket = "tandem"
	}
	if c.Dir == "" || c.AccessKey == "" || len(c.SecretKey) < 16 {
		return c, errors.New("a folder, an access key and a secret key of at least 16 bytes are needed")
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		return c, errors.New("give both a certificate and its key, or neither")
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return c, fmt.Errorf("listen address: %w", err)
	}
	if ip := net.ParseIP(host); c.CertFile == "" && (ip == nil || !ip.IsLoopback()) {
		return c, fmt.Errorf("listen address %s: without a certificate only a loopback IP such as 127.0.0.1 is allowed", c.Listen)
	}
	for _, p := range []*string{&c.Dir, &c.CertFile, &c.KeyFile} {
		if *p == "" {
			continue
		}
		if *p, err = filepath.Abs(*p); err != nil {
			return c, err
		}
	}
	return c, nil
}

// freePort finds out, before anybody is told the address, whether it can be listened on.
func freePort(listen string) (string, error) {
	l, err := net.Listen("tcp", listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return "", fmt.Errorf("embedded storage: %s is in use by another program; choose another port, or 0 for any: %w", listen, err)
	}
	if err != nil {
		return "", fmt.Errorf("embedded storage: listen on %s: %w", listen, err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// prepare makes the folders and the backend over them.
func (s *Server) prepare() error {
	root, beside := filepath.Join(s.config.Dir, "buckets"), filepath.Join(s.config.Dir, "sidecar")
	if err := os.MkdirAll(filepath.Join(root, s.config.Bucket), 0o700); err != nil {
		return err
	}
	if err := s.lockDir(); err != nil {
		return err
	}
	useSidecar := s.config.Sidecar || !hasXattr(root)
	if _, err := os.Stat(beside); err == nil {
		useSidecar = true // metadata written before must be found again
	}
	// An ETag of the checksum that there is anyhow, instead of an MD5, which costs 1.5 s of a processor for 1 GiB. Nobody compares
	// the two: objects of before keep theirs.
	opts := posix.PosixOpts{DataIntegrityEtag: true}
	var store meta.MetadataStorer = meta.XattrMeta{}
	if useSidecar {
		if err := os.MkdirAll(beside, 0o700); err != nil {
			return err
		}
		sc, err := meta.NewSideCar(beside)
		if err != nil {
			return err
		}
		store, opts.SideCarDir = sidecar{SideCar: sc, root: root}, beside
	} else {
		beside = ""
	}
	be, err := posix.New(root, store, opts)
	if err != nil {
		return err
	}
	s.backend = &durable{Backend: be, root: root, sidecar: beside}
	return nil
}

// lockDir keeps a second process off the folder.
func (s *Server) lockDir() error {
	f, err := os.OpenFile(filepath.Join(s.config.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return fmt.Errorf("folder %s is in use by another process: %w", s.config.Dir, err)
	}
	s.lock = f
	return nil
}

// hasXattr finds out by trying whether files in dir can have extended attributes.
func hasXattr(dir string) bool {
	f, err := os.CreateTemp(dir, ".xattr-*")
	if err != nil {
		return false
	}
	defer os.Remove(f.Name())
	defer f.Close()
	return unix.Fsetxattr(int(f.Fd()), "user.tandem", []byte("x"), 0) == nil
}

// hint says what to do about the usual troubles with a folder.
func hint(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("the disk is full; free some space or choose another data folder: %w", err)
	case errors.Is(err, os.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("the data folder cannot be written; check its owner: %w", err)
	}
	return err
}

// release gives back what New took.
func (s *Server) release() {
	if s.lock != nil {
		s.lock.Close()
	}
	if s.oldDir != "" {
		// The old folder may be gone by now; then we stay.
		_ = os.Chdir(s.oldDir)
	}
	busy.Store(false)
}

// Endpoint is host:port, known before Run.
func (s *Server) Endpoint() string { return s.endpoint }

// Ready is closed when the server takes connections.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// ClientConfig is what a client of this server needs, but for CAPEM.
func (s *Server) ClientConfig() s3.Config {
	return s3.Config{
		Endpoint: s.endpoint, Bucket: s.config.Bucket, Region: region,
		AccessKey: s.config.AccessKey, SecretKey: s.config.SecretKey, TLS: s.config.CertFile != "",
	}
}

// Run serves until ctx ends, then finishes what is under way, for at most 10 s, and
// returns nil. It is to be called once.
func (s *Server) Run(ctx context.Context) error {
	defer s.release()
	server, err := s.gateway()
	if err != nil {
		return fmt.Errorf("embedded storage on %s: %w", s.endpoint, err)
	}
	served := make(chan error, 1)
	go func() { served <- server.ServeMultiPort([]string{s.endpoint}) }()
	select {
	case <-ctx.Done():
	case err = <-served:
		err = fmt.Errorf("embedded storage on %s: %w", s.endpoint, err)
	}
	_ = server.ShutDown() // the limit of its time is over, or it does not serve
	s.backend.Shutdown()
	return err
}

// gateway is versitygw's S3 API over the backend and nothing else: no events, no metrics, no admin API.
func (s *Server) gateway() (*s3api.S3ApiServer, error) {
	utils.SetBucketNameValidationStrict(true)
	debuglogger.SetLevel(debuglogger.LevelSilent)
	root := middlewares.RootUserConfig{Access: s.config.AccessKey, Secret: s.config.SecretKey}
	accounts := keys{auth.NewIAMServiceSingle(auth.Account{}), s.config.Keys}
	server, err := s3api.New(s.backend, root, region, accounts, nil, nil, nil, nil,
		s3api.WithConcurrencyLimiter(4096, 1024), s3api.WithMpMaxParts(10000), s3api.WithQuiet(), s3api.WithKeepAlive(), s3api.WithDisableACL(),
		s3api.WithOnListen(sync.OnceFunc(func() { close(s.ready) })))
	if err == nil && s.config.CertFile != "" {
		server.CertStorage = fresh(server.CertStorage)
		err = server.CertStorage.SetCertificate(s.config.CertFile, s.config.KeyFile)
	}
	return server, err
}

// fresh is a new value of a type that has no name outside of its module.
func fresh[T any](*T) *T { return new(T) }

// keys knows the accounts of Config.Keys, which may do all that the first one may. versitygw's own way of saying
// that there is no such account reaches clients as 404, which they must take for a missing object.
type keys struct {
	auth.IAMService
	secret func(accessKey string) (string, bool)
}

// GetUserAccount is asked for any access key that is not Config.AccessKey.
func (k keys) GetUserAccount(accessKey string) (auth.Account, error) {
	if k.secret != nil {
		if secret, ok := k.secret(accessKey); ok {
			return auth.Account{Access: accessKey, Secret: secret, Role: auth.RoleAdmin}, nil
		}
	}
	return auth.Account{}, auth.ErrNoSuchUser
}
