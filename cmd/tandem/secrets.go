package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"tandem.dev/cmd/tandem/input"
)

// secretVariables are those of the environment that hold secrets, and the names that they have as credentials of systemd.
func secretVariables() map[string]string {
	return map[string]string{
		"TANDEM_STORAGE_SECRET_KEY": "storage-secret-key",
		"TANDEM_STORE_SECRET_KEY":   "store-secret-key",
		"TANDEM_JOIN_TOKEN":         "join-token",
		"TANDEM_TOKEN":              "token",
	}
}

// secretsFD is the variable with the number of the file that a process has its secrets from.
const secretsFD = "TANDEM_SECRETS_FD"

// environment is getenv of a process whose environment, which others of its user can read in /proc for as long as it runs, holds no
// secrets. The kernel keeps the first environment of a program whatever is unset later, so that a program that finds secrets there starts
// itself again without them and hands them over in a file that has no name. Only programs that go on running do that.
func environment(args []string) (func(string) string, error) {
	if n := os.Getenv(secretsFD); n != "" {
		secrets, err := takeSecrets(n)
		if err != nil {
			return nil, err
		}
		return func(name string) string {
			if s, ok := secrets[name]; ok {
				return s
			}
			return os.Getenv(name)
		}, nil
	}
	secrets, rest := splitEnvironment(os.Environ())
	if len(args) == 0 || !slices.Contains([]string{"coordinator", "worker", "store"}, args[0]) || len(secrets) == 0 {
		return os.Getenv, nil
	}
	fd, err := unix.MemfdCreate("tandem-secrets", 0) // it is to outlive the exec
	if err != nil {
		return os.Getenv, nil //nolint:nilerr // a kernel without it: the secrets stay where they are
	}
	b, err := json.Marshal(secrets)
	if err != nil {
		return nil, fmt.Errorf("keep the secrets: %w", err)
	}
	if _, err := unix.Write(fd, b); err != nil {
		return nil, fmt.Errorf("keep the secrets: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start without secrets in the environment: %w", err)
	}
	err = syscall.Exec(self, os.Args, append(rest, secretsFD+"="+strconv.Itoa(fd)))
	return nil, fmt.Errorf("start without secrets in the environment: %w", err)
}

// splitEnvironment takes the secrets out of an environment.
func splitEnvironment(all []string) (secrets map[string]string, rest []string) {
	secrets = map[string]string{}
	for _, e := range all {
		name, value, _ := strings.Cut(e, "=")
		if _, ok := secretVariables()[name]; ok && value != "" {
			secrets[name] = value
		} else {
			rest = append(rest, e)
		}
	}
	return secrets, rest
}

// takeSecrets reads what the program before this one handed over, and closes it.
func takeSecrets(number string) (map[string]string, error) {
	fd, err := strconv.Atoi(number)
	if err != nil {
		return nil, fmt.Errorf("%s: %q is not a number: it is not for users to set", secretsFD, number)
	}
	f := os.NewFile(uintptr(fd), "secrets") //nolint:gosec // a small number
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("read the secrets: %w", err)
	}
	secrets := map[string]string{}
	if err := json.Unmarshal(b, &secrets); err != nil {
		return nil, fmt.Errorf("read the secrets: %w", err)
	}
	return secrets, os.Unsetenv(secretsFD)
}

// secret is the content of a file that the user names, else of a variable, else of a credential that systemd hands over (LoadCredential=).
func (a *app) secret(file, variable string) (string, error) {
	if file == "" {
		if s := a.getenv(variable); s != "" {
			return s, nil
		}
		dir := a.getenv("CREDENTIALS_DIRECTORY")
		if dir == "" {
			return "", nil
		}
		file = filepath.Join(dir, secretVariables()[variable])
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			return "", nil // this one was not handed over
		}
	}
	b, err := input.File(file, input.Secrets)
	if err != nil {
		return "", &usageError{fmt.Errorf("read secret: %w", err)}
	}
	return strings.TrimSpace(string(b)), nil
}
