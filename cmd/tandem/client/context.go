package client

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"tandem.dev/cmd/tandem/input"
	"tandem.dev/proto/identity"
)

// Context is how to reach one cluster.
type Context struct {
	Name      string   `yaml:"name"`
	Endpoints []string `yaml:"endpoints"`    // host:port of coordinators
	CA        string   `yaml:"ca,omitempty"` // PEM; empty: the system's
	Token     string   `yaml:"token"`
	// Project is the one that commands work in; empty: the token's.
	Project string `yaml:"project,omitempty"`
	// Coordinators are host:port of the cluster's other coordinators, as they last named themselves; see Client.Learn.
	Coordinators []string `yaml:"coordinators,omitempty"`
	// Answered is the one of them that served last, where it is not the first: it is asked first the next time.
	Answered string `yaml:"answered,omitempty"`
}

// File is the contexts of a user.
type File struct {
	Current  string    `yaml:"current"`
	Contexts []Context `yaml:"contexts"`

	path    string
	deleted []string // names whose files Save takes away
}

// ErrEnvironment means that one of the variables that name a cluster is set without another.
var ErrEnvironment = errors.New("the environment is not complete")

// ErrNoContext means that it is not known which cluster is meant.
var ErrNoContext = errors.New("no cluster is known: start one with `tandem up`, name one with `tandem context add`, or set TANDEM_ENDPOINT, TANDEM_CA and TANDEM_TOKEN")

// ErrUnknownContext means that a context was named that the file does not have.
var ErrUnknownContext = errors.New("no context")

// Trusts says whether the context trusts all certificates of a PEM text.
func (c Context) Trusts(text string) bool {
	known := certificates(c.CA)
	return !slices.ContainsFunc(certificates(text), func(der []byte) bool {
		return !slices.ContainsFunc(known, func(k []byte) bool { return bytes.Equal(k, der) })
	})
}

// certificates are those of a PEM text, DER.
func certificates(text string) (all [][]byte) {
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		all = append(all, block.Bytes)
	}
	return all
}

// Validate says what is wrong with a context, in words for whoever typed it. It asks nobody.
func (c Context) Validate() error {
	if err := validName(c.Name); err != nil {
		return err
	}
	if len(c.Endpoints) == 0 {
		return fmt.Errorf("context %q has no endpoints: give host:port of a coordinator", c.Name)
	}
	for _, e := range c.Endpoints {
		if host, port, err := net.SplitHostPort(e); err != nil || host == "" || port == "" {
			return fmt.Errorf("endpoint %q is not host:port, such as 10.0.0.1:7070", e)
		}
	}
	if c.CA != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(c.CA)) {
		return fmt.Errorf("context %q: its CA is not a certificate in PEM", c.Name)
	}
	if _, err := identity.ParseJoinToken(c.Token); err == nil {
		return errors.New("this token lets a node join; a client needs one of `tandem token create NAME --role user`")
	}
	if c.Token == "" || strings.ContainsFunc(c.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("a context needs a token, one word of letters and digits: `tandem token create` makes one")
	}
	return nil
}

func validName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\\") {
		return fmt.Errorf("context %q: a name is not empty and has no slash in it", name)
	}
	return nil
}

// Path is where the contexts are: $TANDEM_CONFIG, or tandem/contexts.yaml in the user's configuration folder.
func Path(getenv func(string) string) (string, error) {
	if p := getenv("TANDEM_CONFIG"); p != "" {
		return p, nil
	}
	if dir := getenv("XDG_CONFIG_HOME"); dir != "" {
		return filepath.Join(dir, "tandem", "contexts.yaml"), nil
	}
	home := getenv("HOME")
	if home == "" {
		return "", errors.New("neither HOME nor TANDEM_CONFIG is set: set TANDEM_CONFIG to the path of the contexts file")
	}
	return filepath.Join(home, ".config", "tandem", "contexts.yaml"), nil
}

// Load reads a file of contexts; one that does not exist is empty. One that others can read is refused.
func Load(path string) (*File, error) {
	f := &File{path: path}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read contexts: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s holds tokens and others can read it (mode %04o): run `chmod 600 %s`", path, info.Mode().Perm(), path)
	}
	b, err := input.File(path, input.Contexts)
	if err != nil {
		return nil, fmt.Errorf("read contexts: %w", err)
	}
	if err := f.parse(b); err != nil {
		return nil, fmt.Errorf("read contexts in %s: %w", path, err)
	}
	return f, nil
}

// parse reads the text of a file. Each context has a name of its own.
func (f *File) parse(b []byte) (err error) {
	defer func() {
		if broken := recover(); broken != nil { // the YAML package panics on values under a tag that does not fit them
			err = fmt.Errorf("it is not a list of contexts: %v", broken)
		}
	}()
	if err := yaml.UnmarshalWithOptions(b, f, yaml.Strict()); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, name := range f.Names() {
		if name == "" {
			return errors.New("a context has no name")
		}
		if seen[name] {
			return fmt.Errorf("context %q occurs twice: take one of them out", name)
		}
		seen[name] = true
	}
	return nil
}

// encode is the text of a file.
func (f *File) encode() ([]byte, error) {
	return yaml.MarshalWithOptions(f, yaml.UseLiteralStyleIfMultiline(true))
}

// Path is where the file is.
func (f *File) Path() string { return f.path }

// Get finds a context; the current one for an empty name.
func (f *File) Get(name string) (Context, error) {
	if name == "" {
		name = f.Current
	}
	if name == "" {
		return Context{}, ErrNoContext
	}
	for _, c := range f.Contexts {
		if c.Name == name {
			return c, nil
		}
	}
	return Context{}, unknownContext(f, name)
}

// Names lists the contexts in the order of the file.
func (f *File) Names() []string {
	names := make([]string, len(f.Contexts))
	for i, c := range f.Contexts {
		names[i] = c.Name
	}
	return names
}

// Put adds a context or replaces the one of its name; of the same cluster, it keeps the coordinators that were learned.
// The first one becomes the current one.
func (f *File) Put(c Context) {
	i := slices.IndexFunc(f.Contexts, func(o Context) bool { return o.Name == c.Name })
	if i < 0 {
		f.Contexts = append(f.Contexts, c)
	} else {
		if old := f.Contexts[i]; c.CA == old.CA && len(c.Coordinators) == 0 {
			c.Coordinators, c.Answered = old.Coordinators, old.Answered
		}
		f.Contexts[i] = c
	}
	if f.Current == "" {
		f.Current = c.Name
	}
}

// Delete takes a context out, its token too once the file is saved.
func (f *File) Delete(name string) {
	f.Contexts = slices.DeleteFunc(f.Contexts, func(c Context) bool { return c.Name == name })
	f.deleted = append(f.deleted, name)
	if f.Current == name {
		f.Current = ""
	}
}

// Save writes the file with mode 0600, whole or not at all, and beside it for each context what curl needs: CURL(name).
func (f *File) Save() error {
	b, err := f.encode()
	if err != nil {
		return fmt.Errorf("encode contexts: %w", err)
	}
	for _, c := range f.Contexts {
		if err := validName(c.Name); err != nil {
			return err
		}
		ca, token := f.curlFiles(c.Name)
		if err := f.write(ca, []byte(c.CA)); err != nil {
			return err
		}
		if err := f.write(token, []byte(c.Token)); err != nil {
			return err
		}
	}
	if err := f.write(f.path, b); err != nil {
		return err
	}
	for _, name := range f.deleted {
		if slices.Contains(f.Names(), name) || validName(name) != nil {
			continue // it is there again, or never had files
		}
		ca, token := f.curlFiles(name)
		for _, path := range []string{token, ca} {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("forget context %s: %w", name, err)
			}
		}
	}
	f.deleted = nil
	return nil
}

// write writes a file, and says what to do where none can be: the home of a service's user may not exist.
func (f *File) write(path string, b []byte) error {
	if err := identity.WriteFile(filepath.Dir(path), filepath.Base(path), b); err != nil {
		return fmt.Errorf("keep the contexts in %s: %w; set TANDEM_CONFIG to a file in a folder that can be written", f.path, err)
	}
	return nil
}

func (f *File) curlFiles(name string) (ca, token string) {
	dir := filepath.Dir(f.path)
	return filepath.Join(dir, name+".ca.pem"), filepath.Join(dir, name+".token")
}

// Curl is the part of a curl command line that proves who asks. It names files, so that the token is in no history.
func (f *File) Curl(c Context) string {
	ca, token := f.curlFiles(c.Name)
	return curl(c, Quote(ca), "$(cat "+Quote(token)+")")
}

// EnvCurl is Curl for a context from the environment.
func EnvCurl(c Context) string { return curl(c, `"$TANDEM_CA"`, "$TANDEM_TOKEN") }

func curl(c Context, ca, token string) string {
	proof := `-H "Authorization: Bearer ` + token + `"`
	if c.Project != "" {
		proof += ` -H "` + identity.ProjectHeader + ": " + c.Project + `"`
	}
	if c.CA == "" {
		return proof
	}
	return "--cacert " + ca + " " + proof
}

// Quote makes text one word of a command line of a shell.
func Quote(text string) string {
	if text != "" && !strings.ContainsFunc(text, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:,@%=", r))
	}) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// Environment is the name of a context that is in no file.
const Environment = "environment"

// FromEnv makes a context of TANDEM_ENDPOINT (host:port, several with commas), TANDEM_TOKEN and TANDEM_CA (path of a
// PEM file); false if there is no TANDEM_ENDPOINT.
func FromEnv(getenv func(string) string) (Context, bool, error) {
	endpoint := getenv("TANDEM_ENDPOINT")
	if endpoint == "" && getenv("TANDEM_TOKEN") != "" {
		return Context{}, true, fmt.Errorf("%w: TANDEM_TOKEN is set but TANDEM_ENDPOINT is not: set it to host:port of the cluster that the token is of, or name a context with --context", ErrEnvironment)
	}
	if endpoint == "" {
		return Context{}, false, nil
	}
	c := Context{Name: Environment, Token: getenv("TANDEM_TOKEN")}
	for e := range strings.SplitSeq(endpoint, ",") {
		c.Endpoints = append(c.Endpoints, strings.TrimSpace(strings.TrimPrefix(e, "https://")))
	}
	if c.Token == "" {
		return c, true, fmt.Errorf("%w: TANDEM_ENDPOINT is set but TANDEM_TOKEN is not: set it to a token of `tandem token create`", ErrEnvironment)
	}
	if path := getenv("TANDEM_CA"); path != "" {
		pem, err := input.File(path, input.Secrets)
		if err != nil {
			return c, true, fmt.Errorf("read the CA named by TANDEM_CA: %w", err)
		}
		c.CA = string(pem)
	}
	return c, true, nil
}

func unknownContext(f *File, name string) error {
	if len(f.Names()) == 0 {
		return fmt.Errorf("%w %q: there are none in %s; make one with `tandem context add`", ErrUnknownContext, name, f.path)
	}
	return fmt.Errorf("%w %q in %s: it has %s", ErrUnknownContext, name, f.path, strings.Join(f.Names(), ", "))
}
