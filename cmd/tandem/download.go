package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"connectrpc.com/connect"

	"tandem.dev/cmd/tandem/client"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// content is what a folder gets: files of an owner as they were listed, and some that are made here.
type content struct {
	what     string // such as "digits@2", for people
	owner    string
	list     *tandemv1.ListArtifactsResponse
	manifest string            // SHA-256 of its manifest.json, by which it is known again
	made     map[string][]byte // by name
}

// downloadAll receives all files of an owner into a folder, and adds notes to what it says. It asks before it replaces others.
func (a *app) downloadAll(ctx context.Context, c *client.Client, it content, dir string, notes ...part) error {
	var total int64
	var names []string
	for _, f := range it.list.GetArtifacts() {
		if !filepath.IsLocal(f.GetName()) {
			return fmt.Errorf("the cluster names a file %q, which lies outside the folder", f.GetName())
		}
		total += f.GetBytes()
		names = append(names, f.GetName())
	}
	if other := it.replaces(names, dir); other != "" {
		if err := a.confirm(fmt.Sprintf("%s is not of %s: replace the files in %s?", filepath.Join(dir, other), it.what, dir)); err != nil {
			return err
		}
	}
	bar := a.transferBar("Downloading", total)
	defer bar.Close()
	if err := download(ctx, c, it.owner, names, it.made, dir, bar); err != nil {
		return err
	}
	bar.Close()
	said := text(fmt.Sprintf("%d files, %s, are in %s", len(names)+len(it.made), size(total), dir))
	return a.show(it.list, append([]part{said}, notes...)...)
}

// replaces finds a file in a folder that would be replaced and is not of the same download; empty: there is none.
func (it content) replaces(names []string, dir string) string {
	if b, err := os.ReadFile(filepath.Join(dir, manifestName)); err == nil {
		if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) == it.manifest {
			return ""
		}
	}
	for _, name := range names {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return name
		}
	}
	return ""
}

// manifestName is the file that says what all others of a version or a checkpoint are.
const manifestName = "manifest.json"

// download receives files of an owner into a folder, and writes those that are made here beside them: all of them or, whatever ends it,
// none. In a folder that already exists they replace those of their names.
func download(ctx context.Context, c *client.Client, owner string, names []string, made map[string][]byte, dir string, progress *transfer) (err error) {
	defer func() { err = folderHint(dir, err) }()
	temp, err := stage(dir)
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	files := filepath.Join(temp, "files")
	if err := os.Mkdir(files, 0o755); err != nil { // not temp itself, which nobody else may read
		return err
	}
	for _, name := range names {
		path := filepath.Join(files, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		begun := progress.done
		err := retryTransfer(ctx, c, "download "+name, func() error {
			progress.set(begun)
			return receive(ctx, c, owner, name, path, progress)
		})
		if err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(made)) {
		if err := os.WriteFile(filepath.Join(files, name), made[name], 0o644); err != nil { //nolint:gosec // as readable as what was downloaded
			return err
		}
		names = append(names, name)
	}
	return place(files, names, dir)
}

// stage makes a hidden folder for what is on its way to dir: in dir or, where that does not exist yet, in the nearest folder above
// it that is. So it is on the same disk, and what forbids to write there shows before anything was sent.
func stage(dir string) (string, error) {
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		switch info, err := os.Stat(at); {
		case errors.Is(err, fs.ErrNotExist) && at != filepath.Dir(at):
		case err != nil:
			return "", err
		case !info.IsDir():
			return "", &fs.PathError{Op: "make", Path: at, Err: syscall.ENOTDIR}
		default:
			return os.MkdirTemp(at, ".tandem-download-*")
		}
	}
}

// place moves the files that have all arrived to dir.
func place(files string, names []string, dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(filepath.Clean(dir)), 0o755); err != nil {
			return err
		}
		return os.Rename(files, dir)
	}
	for _, name := range names {
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(files, name), to); err != nil {
			return err
		}
	}
	return nil
}

// folderHint says what to do about the usual troubles with the folder of a download.
func folderHint(dir string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("the disk of %s is full: free some space, or choose another folder with --to (%w)", dir, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("the folder %s cannot be written: choose another with --to (%w)", dir, err)
	case errors.Is(err, syscall.ENOTDIR):
		return &usageError{fmt.Errorf("%s is not a folder: choose another with --to (%w)", dir, err)}
	}
	return err
}

// receive receives one file, or a part of it and an error.
func receive(ctx context.Context, c *client.Client, owner, name, path string, progress io.Writer) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	stream, err := c.Artifacts.DownloadArtifact(ctx, connect.NewRequest(&tandemv1.DownloadArtifactRequest{Owner: owner, Name: name}))
	if err != nil {
		return err
	}
	defer stream.Close()
	for stream.Receive() {
		if _, err := f.Write(stream.Msg().GetChunk()); err != nil {
			return err
		}
		_, _ = progress.Write(stream.Msg().GetChunk())
	}
	if err := stream.Err(); err != nil {
		return err
	}
	return f.Close()
}
