package version

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"tandem.dev/storage"
	"tandem.dev/storage/safetensors"
	"tandem.dev/storage/sealed"
)

// Save writes a version below prefix, such as "models/<version id>": the files, then the manifest. file is the TorchScript file, weights
// are its parameters and buffers. storage.ErrExists if another version was committed there before. Whatever fails, nothing is committed
// unless Save returns nil or the answer to the last write was lost.
func Save(ctx context.Context, s storage.Store, prefix string, m Manifest, file []byte, weights []safetensors.Tensor, probes []Probe) (*Version, error) {
	m.Format, m.FormatVersion, m.Files = format, formatVersion, nil
	tensors, err := safetensors.Marshal(weights, map[string]string{"format": "pt", "version": m.Version})
	if err != nil {
		return nil, err
	}
	questions, err := json.Marshal(probes)
	if err != nil {
		return nil, fmt.Errorf("encode probes: %w", err)
	}
	for _, f := range []struct {
		name string
		b    []byte
	}{{ModelFile, file}, {WeightsFile, tensors}, {ProbesFile, questions}} {
		written, err := put(ctx, s, prefix, f.name, f.b)
		if err != nil {
			return nil, err
		}
		m.Files = append(m.Files, written)
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("describe version %s: %w", m.Version, err)
	}
	b, err := sealed.Marshal(m)
	if err != nil {
		return nil, err
	}
	if err := s.PutIfAbsent(ctx, prefix+"/"+ManifestName, b); err != nil {
		return nil, fmt.Errorf("commit version %s: %w", m.Version, err)
	}
	return &Version{Manifest: m, ManifestSHA256: hash(b), store: s, prefix: prefix, size: int64(len(b))}, nil
}

// put writes a file under its name, or beside it when an earlier attempt left other bytes there.
func put(ctx context.Context, s storage.Store, prefix, name string, b []byte) (File, error) {
	f := File{Name: name, Key: name, SHA256: hash(b), Bytes: int64(len(b))}
	key := prefix + "/" + name
	switch _, err := s.Head(ctx, key); {
	case errors.Is(err, storage.ErrNotFound):
	case err != nil:
		return f, fmt.Errorf("look for %s: %w", key, err)
	default:
		there, err := storage.ReadAll(ctx, s, key, f.Bytes)
		if err == nil && bytes.Equal(there, b) {
			return f, nil
		}
		if err != nil && !errors.Is(err, storage.ErrSize) {
			return f, fmt.Errorf("read %s: %w", key, err)
		}
		stem, ext, _ := strings.Cut(name, ".")
		f.Key = fmt.Sprintf("%s-%s.%s", stem, f.SHA256[:16], ext)
	}
	if err := s.Put(ctx, prefix+"/"+f.Key, bytes.NewReader(b), f.Bytes); err != nil {
		return f, fmt.Errorf("write %s: %w", name, err)
	}
	return f, nil
}
