package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// sum is the SHA-256 of a text.
func sum(text string) string {
	b := sha256.Sum256([]byte(text))
	return hex.EncodeToString(b[:])
}

// tree is what a folder has, by path below it.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		b := []byte("folder")
		if !d.IsDir() {
			b, err = os.ReadFile(path)
		}
		all[strings.TrimPrefix(path, dir)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestCheckpointIsDeletedMeanwhile: retention may take a checkpoint from under a download. That leaves nothing, and is said.
func TestCheckpointIsDeletedMeanwhile(t *testing.T) {
	const first, second, weights = "manifest.json", "shard-0", "weights.safetensors"
	notFound := connect.NewError(connect.CodeNotFound, errors.New(`checkpoint "ckpt-1234": not found`))
	forgotten := func() (*tandemv1.Checkpoint, error) { return nil, notFound }
	marked := func() (*tandemv1.Checkpoint, error) {
		return &tandemv1.Checkpoint{Id: "ckpt-1234", JobId: "job-1", Deleting: true}, nil
	}
	meanwhile := []string{"ckpt-1234 was deleted while it was downloaded", "checkpoint.keep", "tandem checkpoint list --job job-1", "prune job-1 --dry-run"}
	for name, c := range map[string]struct {
		at    string // the file that is asked for when the store deletes all; none: it does before they are listed
		after func() (*tandemv1.Checkpoint, error)
		says  error // of that file
		flag  string
		code  int
		want  []string
	}{
		"forgotten":         {at: second, after: forgotten, says: notFound, code: exitNotFound, want: meanwhile},
		"marked":            {at: second, after: marked, code: exitNotFound, want: meanwhile},
		"before the list":   {after: marked, code: exitNotFound, want: meanwhile},
		"weights forgotten": {at: weights, after: forgotten, says: notFound, flag: "--weights-only", code: exitNotFound, want: meanwhile},
		"weights, a shard": {
			at: weights, after: marked, says: connect.NewError(connect.CodeDataLoss, errors.New("shard is missing")),
			flag: "--weights-only", code: exitNotFound, want: meanwhile,
		},
		"only a file is gone": {at: second, code: exitNotFound, want: []string{"file: not found"}},
		"damaged": {
			at: weights, says: connect.NewError(connect.CodeDataLoss, errors.New("wrong sha256")),
			flag: "--weights-only", code: exitError, want: []string{"wrong sha256"},
		},
	} {
		for _, there := range []bool{false, true} {
			t.Run(name+map[bool]string{false: ", new folder", true: ", old folder"}[there], func(t *testing.T) {
				ca := newAuthority(t)
				f := &fake{}
				u := newUser(t, ca.pem, ca.serve(t, f))
				f.files = map[string][]byte{first: []byte("M"), second: []byte("S"), weights: []byte("W")}
				erase := func() { f.files, f.ckpt = nil, c.after }
				f.fetch = func(name string) error {
					if name != c.at {
						return nil
					}
					erase()
					return c.says
				}
				if c.at == "" {
					f.ckpt = func() (*tandemv1.Checkpoint, error) {
						erase()
						return &tandemv1.Checkpoint{Id: "ckpt-1234", JobId: "job-1"}, nil
					}
				}
				root := t.TempDir()
				to := filepath.Join(root, "a", "b")
				if there {
					if err := os.MkdirAll(to, 0o755); err != nil {
						t.Fatal(err)
					}
					write(t, to, first, "mine")
				}
				before := tree(t, root)
				args := []string{"checkpoint", "download", "ckpt-12", "-y", "--to", to}
				if c.flag != "" {
					args = append(args, c.flag)
				}
				u.want(u.run(args...), c.code, c.want...)
				if c.after == nil && strings.Contains(u.err.String(), "deleted") {
					t.Errorf("it is still there: %s", u.err.String())
				}
				if diff := cmp.Diff(before, tree(t, root)); diff != "" {
					t.Errorf("it left something behind (-before +after):\n%s", diff)
				}
			})
		}
	}
}

// TestDownloadIntoFolders: a folder is made, or gets the files beside those it has; only a whole download changes anything.
func TestDownloadIntoFolders(t *testing.T) {
	ca := newAuthority(t)
	manifest := sum("M")
	f := &fake{ckpt: func() (*tandemv1.Checkpoint, error) {
		return &tandemv1.Checkpoint{Id: "ckpt-1234", JobId: "job-1", ManifestSha256: manifest}, nil
	}}
	u := newUser(t, ca.pem, ca.serve(t, f))
	f.files = map[string][]byte{"manifest.json": []byte("M"), "shard-0": []byte("S")}
	root := t.TempDir()
	get := func(to string, more ...string) int {
		return u.run(append([]string{"checkpoint", "download", "ckpt-12", "--to", filepath.Join(root, to)}, more...)...)
	}
	check := func(want map[string]string) {
		t.Helper()
		if diff := cmp.Diff(want, tree(t, root)); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
	u.want(get("new/"), exitOK, "2 files")
	check(map[string]string{"": "folder", "/new": "folder", "/new/manifest.json": "M", "/new/shard-0": "S"})
	if info, err := os.Stat(filepath.Join(root, "new")); err != nil || info.Mode().Perm()&0o050 != 0o050 {
		t.Errorf("others cannot read the folder: %v, %v", info.Mode(), err)
	}
	if err := os.Symlink("new", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "new"), "shard-0", "old")
	write(t, filepath.Join(root, "new"), "notes", "mine")
	f.files["weights.safetensors"] = []byte("W")
	u.want(get("link", "--weights-only"), exitOK, filepath.Join("link", "weights.safetensors"))
	delete(f.files, "weights.safetensors")
	u.want(get("link"), exitOK, "2 files")
	if err := os.Remove(filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	whole := map[string]string{
		"": "folder", "/new": "folder", "/new/manifest.json": "M", "/new/shard-0": "S", "/new/notes": "mine", "/new/weights.safetensors": "W",
	}
	check(whole)
	u.want(get("new/notes"), exitUsage, "notes is not a folder", "--to")
	u.want(get("new/notes/below"), exitUsage, "is not a folder", "--to")

	manifest = sum("of another checkpoint")
	u.want(get("new"), exitUsage, "manifest.json is not of ckpt-1234: replace the files in", "add -y")
	check(whole)

	ctx, interrupt := context.WithCancel(t.Context())
	f.fetch = func(name string) error {
		if name == "shard-0" {
			interrupt()
			<-ctx.Done()
		}
		return nil
	}
	u.want(u.runContext(ctx, "checkpoint", "download", "ckpt-12", "--to", filepath.Join(root, "other", "folder")), exitInterrupted, "interrupted")
	check(whole)
}

func TestFolderHint(t *testing.T) {
	for err, want := range map[error]string{
		syscall.ENOSPC: "the disk of /data is full: free some space", syscall.EACCES: "/data cannot be written: choose another", syscall.EROFS: "cannot be written",
	} {
		got := folderHint("/data", &fs.PathError{Op: "write", Path: "/data/x", Err: err})
		if !strings.Contains(got.Error(), want) || !strings.Contains(got.Error(), "--to") || !errors.Is(got, err) {
			t.Errorf("%v: %v", err, got)
		}
	}
}
