package local

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestFolderIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	f, err := Open(dir, "127.0.0.1:0", "unused")
	if err != nil {
		t.Fatal(err)
	}
	first := f.Settings
	if !f.New || first.SecretKey == "" || len(first.SecretKey) < 16 {
		t.Errorf("%+v", f)
	}
	for _, path := range []string{settingsFile, "lock"} {
		if info, err := os.Stat(f.Path(path)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if _, err := Open(dir, "", "unused"); err == nil || !strings.Contains(err.Error(), "running already (process "+strconv.Itoa(os.Getpid())) {
		t.Errorf("a second cluster in the folder: %v", err)
	}
	f.Close()

	f, err = Open(dir, "", "unused")
	if err != nil {
		t.Fatal(err)
	}
	if f.New || f.Settings != first {
		t.Errorf("%+v instead of %+v", f.Settings, first)
	}
	f.Close()
	if _, err := Open(dir, "127.0.0.1:1", "unused"); err == nil || !strings.Contains(err.Error(), "leave --listen out") {
		t.Errorf("another address: %v", err)
	}
}

func TestPortsInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	if _, err := Open(dir, l.Addr().String(), ""); err == nil || !strings.Contains(err.Error(), "--listen") {
		t.Fatalf("%v", err)
	}
	// What failed is not kept: the next try may name another address.
	f, err := Open(dir, "127.0.0.1:0", "")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func TestHints(t *testing.T) {
	for cause, want := range map[error]string{
		syscall.ENOSPC:      "the disk of /data is full: free some space",
		syscall.EDQUOT:      "the disk of /data is full: free some space",
		syscall.EROFS:       "the folder /data cannot be written",
		syscall.EACCES:      "the folder /data cannot be written",
		syscall.ENOTDIR:     "/data is not a folder",
		syscall.EIO:         "data folder /data: ",
		io.ErrUnexpectedEOF: "data folder /data: ",
	} {
		err := hint("/data", &fs.PathError{Op: "write", Path: "/data/x", Err: cause})
		if !strings.HasPrefix(err.Error(), want) || !errors.Is(cause, syscall.ENOTDIR) && !errors.Is(err, cause) {
			t.Errorf("%v: %v", cause, err)
		}
		if advised := strings.Contains(err.Error(), "--data-dir"); advised == strings.HasPrefix(want, "data folder") {
			t.Errorf("%v: the advice is wrong: %v", cause, err)
		}
	}
}

func TestFoldersThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	damaged := t.TempDir()
	if err := os.WriteFile(filepath.Join(damaged, settingsFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{file: "is not a folder", filepath.Join(file, "x"): "is not a folder", damaged: "is damaged"} {
		if _, err := Open(dir, "127.0.0.1:0", ""); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "--data-dir") {
			t.Errorf("%s: %v", dir, err)
		}
	}
	for _, listen := range []string{"7070", "127.0.0.1:x", "127.0.0.1:65535"} {
		if _, err := Open(t.TempDir(), listen, ""); err == nil || !strings.Contains(err.Error(), "--listen") {
			t.Errorf("%s: %v", listen, err)
		}
	}
}

// FuzzSettings: settings that are taken are complete, and stay what they are when they are written again.
func FuzzSettings(f *testing.F) {
	good := `{"listen": "127.0.0.1:7070", "gossip": "127.0.0.1:7071", "store": "127.0.0.1:7072", "access_key": "a", "secret_key": "s"}`
	if _, err := parseSettings([]byte(good)); err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		good, "", "{", "{}", "null", "[]", strings.Replace(good, "7071", "0", 1), strings.Replace(good, "7071", "70710", 1),
		strings.Replace(good, "127.0.0.1:7072", "7072", 1), strings.Replace(good, `"s"`, `""`, 1), strings.Replace(good, `"s"`, "7", 1),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseSettings(b)
		if err != nil {
			return
		}
		if s.AccessKey == "" || s.SecretKey == "" || !strings.Contains(s.Listen, ":") || !strings.Contains(s.Gossip, ":") || !strings.Contains(s.Store, ":") {
			t.Errorf("incomplete: %+v", s)
		}
		again, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if other, err := parseSettings(again); err != nil || other != s {
			t.Errorf("%+v became %+v, %v", s, other, err)
		}
	})
}
