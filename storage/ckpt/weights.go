package ckpt

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"tandem.dev/storage"
	"tandem.dev/storage/safetensors"
)

// ModelPrefix begins the names of the tensors that a model is made of.
const ModelPrefix = "model."

// WriteWeights writes the parameters and buffers of the model as one safetensors file, under
// the names that the model has for them. It reads each shard once, and verifies it: an error,
// ErrCorrupt if anything is damaged or missing, may come after bytes were written, which are of no
// use then. Memory does not grow with the checkpoint.
func WriteWeights(ctx context.Context, s storage.Store, prefix string, w io.Writer) error {
	m, err := ReadManifest(ctx, s, prefix)
	if err != nil {
		return fmt.Errorf("read checkpoint %s: %w", prefix, err)
	}
	var all []safetensors.Span
	of := make([][]safetensors.Span, len(m.Shards))
	for i, shard := range m.Shards {
		if of[i], err = modelSpans(ctx, s, prefix, shard); err != nil {
			return fmt.Errorf("read checkpoint %s: %w", prefix, err)
		}
		for _, span := range of[i] {
			span.Name = strings.TrimPrefix(span.Name, ModelPrefix)
			all = append(all, span)
		}
	}
	head, err := safetensors.Header(all, nil)
	if err != nil {
		return fmt.Errorf("read checkpoint %s: %w: %w", prefix, ErrCorrupt, err)
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	for i, shard := range m.Shards {
		if err := copySpans(ctx, s, prefix, shard, of[i], w); err != nil {
			return fmt.Errorf("read checkpoint %s: %w", prefix, err)
		}
	}
	return nil
}

// modelSpans finds the model's tensors in a shard, which is not verified yet.
func modelSpans(ctx context.Context, s storage.Store, prefix string, shard Shard) (spans []safetensors.Span, err error) {
	r, err := openShard(ctx, s, prefix, shard)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	limits := safetensors.DefaultLimits()
	all, err := safetensors.ReadHeader(r, shard.Bytes, limits)
	if errors.Is(err, safetensors.ErrFormat) {
		err = fmt.Errorf("%w: shard %s: %w", ErrCorrupt, shard.Key, err)
	}
	for _, span := range all {
		if strings.HasPrefix(span.Name, ModelPrefix) {
			spans = append(spans, span)
		}
	}
	return spans, err
}

// copySpans reads a whole shard, and writes the spans of it.
func copySpans(ctx context.Context, s storage.Store, prefix string, shard Shard, spans []safetensors.Span, w io.Writer) error {
	r, err := openShard(ctx, s, prefix, shard)
	if err != nil {
		return err
	}
	defer r.Close()
	h := sha256.New()
	hashed := io.TeeReader(r, h)
	var at int64
	for _, span := range spans {
		if _, err := io.CopyN(io.Discard, hashed, span.Begin-at); err != nil {
			return short(shard, err)
		}
		if _, err := io.CopyN(w, hashed, span.End-span.Begin); err != nil {
			return short(shard, err)
		}
		at = span.End
	}
	n, err := io.Copy(io.Discard, hashed)
	if err != nil {
		return err
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != shard.SHA256 || at+n != shard.Bytes {
		return fmt.Errorf("%w: shard %s has %d bytes with sha256 %s", ErrCorrupt, shard.Key, at+n, sum)
	}
	return nil
}

func short(shard Shard, err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: shard %s is too short", ErrCorrupt, shard.Key)
	}
	return err
}

func openShard(ctx context.Context, s storage.Store, prefix string, shard Shard) (io.ReadCloser, error) {
	r, info, err := s.Get(ctx, prefix+"/"+shard.Key)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, fmt.Errorf("%w: shard %s: %w", ErrCorrupt, shard.Key, err)
	case err != nil:
		return nil, err
	case info.Size != shard.Bytes:
		r.Close()
		return nil, fmt.Errorf("%w: shard %s has %d bytes instead of %d", ErrCorrupt, shard.Key, info.Size, shard.Bytes)
	}
	return r, nil
}
