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
	file      *os.File
	datasetID string    // with name: a file of a dataset; both empty: a file of its own
	name      string    // in the dataset
	progress  *transfer // counts what is sent; nil: one of its own
}

// uploadPath is upload for a file that this program made itself.
func (a *app) uploadPath(ctx context.Context, c *client.Client, path string, u upload) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("upload: %w", err)
	}
	defer f.Close()
	u.file = f
	return a.upload(ctx, c, u)
}

// upload sends one file and returns its SHA-256. It begins again when the coordinator is lost on the way.
func (a *app) upload(ctx context.Context, c *client.Client, u upload) (string, error) {
	sum := sha256.New()
	n, err := io.Copy(sum, u.file)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", u.file.Name(), err)
	}
	name := filepath.Base(u.file.Name())
	header := &tandemv1.UploadArtifactHeader{Size: n, Sha256: hex.EncodeToString(sum.Sum(nil)), DatasetId: u.datasetID, Name: u.name}
	if u.progress == nil {
		bar := a.transferBar("Uploading "+name, n)
		defer bar.Close()
		u.progress = bar
	}
	begun := u.progress.done
	return header.GetSha256(), retryTransfer(ctx, c, "upload "+name, func() error {
		if _, err := u.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		u.progress.set(begun)
		return send(ctx, c, header, u.file, u.progress)
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
