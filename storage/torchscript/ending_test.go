package torchscript

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// wide gives an archive the 64-bit end that PyTorch always writes, with a directory of bytes bytes at offset.
func wide(b []byte, entries, bytes, offset uint64) []byte {
	body, end := b[:len(b)-endSize], b[len(b)-endSize:]
	le := binary.LittleEndian
	out := append([]byte{}, body...)
	at := uint64(len(out))
	out = le.AppendUint32(out, wideSignature)
	out = le.AppendUint64(out, wideSize-12)
	out = append(out, 45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	for _, n := range []uint64{entries, entries, bytes, offset} {
		out = le.AppendUint64(out, n)
	}
	out = le.AppendUint32(out, locatorSignature)
	out = le.AppendUint32(out, 0)
	out = le.AppendUint64(out, at)
	out = le.AppendUint32(out, 1)
	return append(out, end...)
}

func directory(b []byte) (entries, bytes, offset uint64) {
	end := b[len(b)-endSize:]
	le := binary.LittleEndian
	return uint64(le.Uint16(end[10:])), uint64(le.Uint32(end[12:])), uint64(le.Uint32(end[16:]))
}

// TestOneDirectory: every reader of an archive finds the same directory, or nobody does.
func TestOneDirectory(t *testing.T) {
	good := archived(t, model(plainCode))
	bad := archived(t, model(calls("torch.save")))
	n, size, at := directory(good)
	// Two archives, each whole: what only reads the short end sees the good one.
	both := archivedBehind(t, bad[:len(bad)-endSize], model(plainCode))
	le := binary.LittleEndian
	badN, badSize, badAt := directory(bad)
	comment := append(append([]byte{}, good...), bad[len(bad)-endSize:]...)
	le.PutUint16(comment[len(good)-2:], endSize)
	for name, tc := range map[string]struct {
		file []byte
		want error
		says string
	}{
		"short":                     {good, nil, ""},
		"wide":                      {wide(good, n, size, at), nil, ""},
		"two directories":           {wide(both, badN, badSize, badAt), ErrRefused, "two directories"},
		"a number of entries":       {wide(good, n-1, size, at), ErrRefused, "two directories"},
		"a comment":                 {append(append([]byte{}, good[:len(good)-2]...), 4, 0, 'o', 'n', 'c', 'e'), ErrFormat, "without a comment"},
		"a comment that is an end":  {comment, ErrRefused, "between its directory and its end"},
		"something before the file": {append([]byte("#!/bin/sh\n"), good...), ErrRefused, "before its first entry"},
		"something after it":        {append(append([]byte{}, good...), 0), ErrFormat, "without a comment"},
		"a wide end elsewhere":      {append(wide(good, n, size, at)[:len(good)-endSize], append([]byte{0}, wide(good, n, size, at)[len(good)-endSize:]...)...), ErrRefused, "not where PyTorch writes it"},
	} {
		_, err := Inspect(bytes.NewReader(tc.file), int64(len(tc.file)))
		if !errors.Is(err, tc.want) || err != nil && !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %v with %q", name, err, tc.want, tc.says)
		}
	}
	b, err := os.ReadFile(filepath.Join("..", "..", "worker", "model", "testdata", "parity-own.pt"))
	if err != nil {
		t.Fatal(err)
	}
	if le.Uint32(b[len(b)-endSize-locatorSize:]) != locatorSignature {
		t.Error("PyTorch does not write the 64-bit form any more: the check is too strict for its files")
	}
}
