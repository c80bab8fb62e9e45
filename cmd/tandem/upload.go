package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/cmd/tandem/client"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

const (
	chunkBytes = 256 << 10
	// transferTries is how often a file is begun again when the coordinator is lost on the way.
	transferTries = 5
)

// upload is one file on its way to the store.
type upload struct {
	path      string
	datasetID string    // with name: a file of a dataset; both empty: a file of its own
	name      string    // in the dataset
	progress  *transfer // counts what is sent; nil: one of its own
}

// upload sends one file and returns its SHA-256. It begins again when the coordinator is lost on the way.
func (a *app) upload(ctx context.Context, c *client.Client, u upload) (string, error) {
	f, err := os.Open(u.path)
	if err != nil {
		return "", fmt.Errorf("upload: %w", err)
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", u.path, err)
	}
	header := &tandemv1.UploadArtifactHeader{Size: n, Sha256: hex.EncodeToString(sum.Sum(nil)), DatasetId: u.datasetID, Name: u.name}
	if u.progress == nil {
		bar := a.transferBar("Uploading "+filepath.Base(u.path), n)
		defer bar.Close()
		u.progress = bar
	}
	begun := u.progress.done
	return header.GetSha256(), retryTransfer(ctx, c, "upload "+filepath.Base(u.path), func() error {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		u.progress.set(begun)
		return send(ctx, c, header, f, u.progress)
	})
}

func send(ctx context.Context, c *client.Client, header *tandemv1.UploadArtifactHeader, r io.Reader, progress io.Writer) error {
	stream := c.Artifacts.UploadArtifact(ctx)
	err := stream.Send(&tandemv1.UploadArtifactRequest{Part: &tandemv1.UploadArtifactRequest_Header{Header: header}})
	buf := make([]byte, chunkBytes)
	for err == nil {
		n, rerr := io.ReadFull(r, buf)
		if n > 0 {
			err = stream.Send(&tandemv1.UploadArtifactRequest{Part: &tandemv1.UploadArtifactRequest_Chunk{Chunk: buf[:n]}})
			_, _ = progress.Write(buf[:n])
		}
		if rerr == io.EOF || rerr == io.ErrUnexpectedEOF {
			break
		}
		if rerr != nil {
			_, _ = stream.CloseAndReceive() // the server refuses what is short
			return rerr
		}
	}
	// What the server says explains a Send that failed.
	res, rerr := stream.CloseAndReceive()
	if rerr != nil {
		return rerr
	}
	if got := res.Msg.GetArtifact(); got != "" && got != header.GetSha256() {
		return fmt.Errorf("the cluster stored other bytes (%s) than were sent (%s)", got, header.GetSha256())
	}
	return err
}

// download receives one file, whole or not at all.
func (a *app) download(ctx context.Context, c *client.Client, owner, name, path string, progress *transfer) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("download %s: %w", name, err)
	}
	part := path + ".part"
	defer func() {
		if err != nil {
			_ = os.Remove(part)
		}
	}()
	begun := progress.done
	err = retryTransfer(ctx, c, "download "+name, func() error {
		progress.set(begun)
		return receive(ctx, c, owner, name, part, progress)
	})
	if err != nil {
		return err
	}
	return os.Rename(part, path)
}

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

// retryTransfer begins a transfer again when the coordinator is lost on the way.
func retryTransfer(ctx context.Context, c *client.Client, what string, transfer func() error) error {
	var err error
	for try := range transferTries {
		turn := c.Turn()
		if err = transfer(); err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !client.Lost(err) {
			break
		}
		c.Rotate(turn)
		if err := client.Sleep(ctx, time.Duration(try+1)*c.Patience.Pause); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s: %w", what, c.Explain(err))
}

// downloadAll receives all files of an owner into a folder, and adds notes to what it says.
func (a *app) downloadAll(ctx context.Context, c *client.Client, owner, dir string, notes ...part) error {
	res, err := c.Artifacts.ListArtifacts(ctx, connect.NewRequest(&tandemv1.ListArtifactsRequest{Owner: owner}))
	if err != nil {
		return err
	}
	var total int64
	for _, f := range res.Msg.GetArtifacts() {
		total += f.GetBytes()
	}
	bar := a.transferBar("Downloading", total)
	defer bar.Close()
	for _, f := range res.Msg.GetArtifacts() {
		if !filepath.IsLocal(f.GetName()) {
			return fmt.Errorf("the cluster names a file %q, which lies outside the folder", f.GetName())
		}
		if err := a.download(ctx, c, owner, f.GetName(), filepath.Join(dir, f.GetName()), bar); err != nil {
			return err
		}
	}
	bar.Close()
	said := text(fmt.Sprintf("%d files, %s, are in %s", len(res.Msg.GetArtifacts()), size(total), dir))
	return a.show(res.Msg, append([]part{said}, notes...)...)
}
