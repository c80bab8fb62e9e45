package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/coordinator/spec"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/layout"
)

type artifacts struct{ *API }

const downloadChunk = 256 << 10

// UploadArtifact implements ArtifactService.
func (a artifacts) UploadArtifact(ctx context.Context, stream *connect.ClientStream[tandemv1.UploadArtifactRequest]) (*connect.Response[tandemv1.UploadArtifactResponse], error) {
	if !stream.Receive() {
		return nil, errors.Join(stream.Err(), invalid("the upload is empty: the first message must be the header"))
	}
	h := stream.Msg().GetHeader()
	key, err := a.uploadKey(ctx, h)
	if err != nil {
		return nil, err
	}
	store, err := a.deps.Store()
	if err != nil {
		return nil, err
	}
	body := &upload{stream: stream, size: h.GetSize(), want: h.GetSha256(), hash: sha256.New()}
	if err := store.Put(ctx, key, body, h.GetSize()); err != nil {
		if body.err != nil {
			err = body.err // what is wrong with the upload, and not what the store made of it
		}
		return nil, fmt.Errorf("store the uploaded file: %w", err)
	}
	if !body.done {
		return nil, invalid("the upload is shorter than its header says")
	}
	return connect.NewResponse(&tandemv1.UploadArtifactResponse{Artifact: h.GetSha256()}), nil
}

// uploadKey is where an upload goes: under its own hash, or where CreateDataset looks for it.
func (a artifacts) uploadKey(ctx context.Context, h *tandemv1.UploadArtifactHeader) (string, error) {
	switch {
	case h == nil:
		return "", invalid("the first message of an upload must be the header")
	case !spec.IsSHA256(h.GetSha256()):
		return "", invalid("sha256: must be a SHA-256 in hexadecimal")
	case h.GetSize() < 1 || h.GetSize() > a.cfg.MaxArtifact:
		return "", invalid(fmt.Sprintf("size: the file has %d bytes; 1 to %d are allowed", h.GetSize(), a.cfg.MaxArtifact))
	case h.GetDatasetId() == "":
		return layout.Artifact(h.GetSha256()), nil
	case !begun(h.GetDatasetId(), time.Now()):
		return "", invalid("dataset_id: " + begunRule)
	case !datasetFileRE.MatchString(h.GetName()):
		return "", invalid(fmt.Sprintf("name: %q is not a file of a dataset", h.GetName()))
	case h.GetSize() > maxShard:
		return "", invalid(fmt.Sprintf("size: %s has %d bytes, at most %d are allowed: make smaller shards, as tandem dataset create does", h.GetName(), h.GetSize(), maxShard))
	}
	v, err := a.view(ctx)
	if err != nil {
		return "", err
	}
	if _, ok := v.Dataset(h.GetDatasetId()); ok {
		return "", precondition("dataset " + h.GetDatasetId() + " is committed and does not change any more")
	}
	if _, elsewhere := v.Whole().Dataset(h.GetDatasetId()); elsewhere {
		return "", state.Missing("dataset", h.GetDatasetId())
	}
	if v.GarbageBelow(layout.Datasets(h.GetDatasetId())) {
		return "", deletedDataset(h.GetDatasetId())
	}
	return layout.Upload(h.GetDatasetId()) + "/" + h.GetName(), nil
}

// upload reads the chunks of a stream. It gives the last bytes away only when the whole file has the hash it should,
// so that a store never sees all of a file that is not right.
type upload struct {
	stream *connect.ClientStream[tandemv1.UploadArtifactRequest]
	chunk  []byte
	read   int64
	size   int64
	want   string
	hash   hash.Hash
	done   bool
	err    error
}

func (u *upload) Read(p []byte) (int, error) {
	if u.err != nil {
		return 0, u.err
	}
	for len(u.chunk) == 0 {
		if u.done {
			return 0, io.EOF
		}
		if u.err = u.receive(); u.err != nil {
			return 0, u.err
		}
	}
	n := copy(p, u.chunk)
	u.chunk = u.chunk[n:]
	return n, nil
}

func (u *upload) receive() error {
	if !u.stream.Receive() {
		if err := u.stream.Err(); err != nil {
			return err
		}
		return invalid(fmt.Sprintf("the upload ended after %d of %d bytes", u.read, u.size))
	}
	u.chunk = u.stream.Msg().GetChunk()
	u.read += int64(len(u.chunk))
	_, _ = u.hash.Write(u.chunk) // never fails
	switch {
	case u.read > u.size:
		return invalid(fmt.Sprintf("the upload has more than the %d bytes of its header", u.size))
	case u.read < u.size:
		return nil
	}
	u.done = true
	if got := hex.EncodeToString(u.hash.Sum(nil)); got != u.want {
		return invalid(fmt.Sprintf("the uploaded file has SHA-256 %s, not %s: it was changed on its way or while it was read; upload it again", got, u.want))
	}
	return nil
}

// owner finds the prefix of the objects of an owner.
func (a artifacts) owner(ctx context.Context, owner string) (string, error) {
	v, err := a.view(ctx)
	if err != nil {
		return "", err
	}
	kind, ref, _ := strings.Cut(owner, "/")
	switch kind {
	case "checkpoint":
		c, err := v.ResolveCheckpoint(ref)
		return c.GetPrefix() + "/", err
	case "dataset":
		d, err := v.ResolveDataset(ref)
		return d.GetPrefix() + "/", err
	case "version":
		i := strings.LastIndexByte(ref, '/')
		if i < 0 {
			break
		}
		ver, err := v.ResolveTarget(ref[:i], ref[i+1:])
		return ver.GetPrefix() + "/", err
	case "artifact":
		if !spec.IsSHA256(ref) {
			break
		}
		return layout.Artifacts, nil
	}
	return "", invalid(`owner: must be "checkpoint/<id>", "version/<model>/<number>", "dataset/<name@version>" or "artifact/<sha256>"`)
}

// ListArtifacts implements ArtifactService.
func (a artifacts) ListArtifacts(ctx context.Context, req *connect.Request[tandemv1.ListArtifactsRequest]) (*connect.Response[tandemv1.ListArtifactsResponse], error) {
	prefix, err := a.owner(ctx, req.Msg.GetOwner())
	if err != nil {
		return nil, err
	}
	store, err := a.deps.Store()
	if err != nil {
		return nil, err
	}
	from := prefix
	if sha, ok := strings.CutPrefix(req.Msg.GetOwner(), "artifact/"); ok {
		from += sha
	}
	res := &tandemv1.ListArtifactsResponse{}
	for info, err := range store.List(ctx, from) {
		if err != nil {
			return nil, fmt.Errorf("list the files of %s: %w", req.Msg.GetOwner(), err)
		}
		res.Artifacts = append(res.Artifacts, &tandemv1.Artifact{Name: strings.TrimPrefix(info.Key, prefix), Bytes: info.Size})
	}
	return connect.NewResponse(res), nil
}

// DownloadArtifact implements ArtifactService.
func (a artifacts) DownloadArtifact(ctx context.Context, req *connect.Request[tandemv1.DownloadArtifactRequest], stream *connect.ServerStream[tandemv1.DownloadArtifactResponse]) error {
	prefix, err := a.owner(ctx, req.Msg.GetOwner())
	if err != nil {
		return err
	}
	store, err := a.deps.Store()
	if err != nil {
		return err
	}
	name := req.Msg.GetName()
	if sha, ok := strings.CutPrefix(req.Msg.GetOwner(), "artifact/"); ok {
		name = sha
	}
	if err := storage.CheckKey(name); err != nil {
		return fmt.Errorf("name: %w", err)
	}
	if name == weightsFile && strings.HasPrefix(req.Msg.GetOwner(), "checkpoint/") {
		return sendWeights(ctx, store, strings.TrimSuffix(prefix, "/"), stream)
	}
	r, _, err := store.Get(ctx, prefix+name)
	if errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("file %q of %s: %w", name, req.Msg.GetOwner(), state.ErrNotFound)
	}
	if err != nil {
		return fmt.Errorf("read file %q of %s: %w", name, req.Msg.GetOwner(), err)
	}
	defer r.Close()
	buf := make([]byte, downloadChunk)
	for {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			if err := stream.Send(&tandemv1.DownloadArtifactResponse{Chunk: buf[:n]}); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read file %q of %s: %w", name, req.Msg.GetOwner(), err)
		}
	}
}
