package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"connectrpc.com/connect"

	"tandem.dev/cmd/tandem/client"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// downloadAll receives all files of an owner, as they were listed, into a folder, and adds notes to what it says.
func (a *app) downloadAll(ctx context.Context, c *client.Client, owner string, list *tandemv1.ListArtifactsResponse, dir string, notes ...part) error {
	var total int64
	var names []string
	for _, f := range list.GetArtifacts() {
		if !filepath.IsLocal(f.GetName()) {
			return fmt.Errorf("the cluster names a file %q, which lies outside the folder", f.GetName())
		}
		total += f.GetBytes()
		names = append(names, f.GetName())
	}
	bar := a.transferBar("Downloading", total)
	defer bar.Close()
	if err := download(ctx, c, owner, names, dir, bar); err != nil {
		return err
	}
	bar.Close()
	said := text(fmt.Sprintf("%d files, %s, are in %s", len(names), size(total), dir))
	return a.show(list, append([]part{said}, notes...)...)
}

// download receives files of an owner into a folder: all of them or, whatever ends it, none. In a folder that is there already
// they replace those of their names.
func download(ctx context.Context, c *client.Client, owner string, names []string, dir string, progress *transfer) (err error) {
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
	return place(files, names, dir)
}

// stage makes a hidden folder for what is on its way to dir: in dir or, where that is not there yet, in the nearest folder above
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
		return &usageError{fmt.Errorf("%s is no folder: choose another with --to (%w)", dir, err)}
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
