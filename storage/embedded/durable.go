package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// durable makes an object safe from a loss of power before its writer gets an answer, which
// versitygw leaves to the file system. It also tells clients in plain words that the disk
// is full, where versitygw would report an internal error.
type durable struct {
	backend.Backend
	root    string // absolute
	sidecar string // absolute; empty without one
}

func (d *durable) PutObject(ctx context.Context, in s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	out, err := d.Backend.PutObject(ctx, in)
	if err == nil {
		err = d.sync(in.Bucket, in.Key)
	}
	return out, full(err)
}

func (d *durable) UploadPart(ctx context.Context, in *awss3.UploadPartInput) (*awss3.UploadPartOutput, error) {
	out, err := d.Backend.UploadPart(ctx, in)
	return out, full(err)
}

func (d *durable) CompleteMultipartUpload(ctx context.Context, in *awss3.CompleteMultipartUploadInput) (s3response.CompleteMultipartUploadResult, string, error) {
	out, version, err := d.Backend.CompleteMultipartUpload(ctx, in)
	if err == nil {
		err = d.sync(in.Bucket, in.Key)
	}
	return out, version, full(err)
}

// sync flushes the object's file, its metadata and every folder down to it.
func (d *durable) sync(bucket, key *string) error {
	if bucket == nil || key == nil {
		return errors.New("sync object: no name")
	}
	object := filepath.Join(*bucket, filepath.FromSlash(*key))
	for path := object; path != "."; path = filepath.Dir(path) {
		if err := syncPath(filepath.Join(d.root, path)); err != nil {
			return err
		}
	}
	if d.sidecar == "" {
		return nil
	}
	return filepath.WalkDir(filepath.Join(d.sidecar, object, "meta"), func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return ignoreGone(err)
		}
		return syncPath(path)
	})
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return ignoreGone(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}

// ignoreGone: an object deleted meanwhile needs no flushing.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// full turns the kernel's word for a full disk into S3's.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return s3err.GetAPIError(s3err.ErrNoSpaceLeftOnDevice)
	}
	return err
}
