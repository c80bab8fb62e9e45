package torchscript

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

var (
	// ErrFormat says that the bytes are not a TorchScript file.
	ErrFormat = errors.New("not a TorchScript file (make one with torch.jit.script(model).save(path))")
	// ErrRefused says that a file has what no model may have.
	ErrRefused = errors.New("the model file is refused")
)

// Bounds of a file. The largest honest ones have some thousand tensors and some hundred KiB of code.
const (
	maxEntries  = 100_000
	maxCode     = 8 << 20  // bytes of code, unpacked
	maxInflated = 64 << 20 // bytes of all that is compressed, unpacked: code, and where it came from
	maxRead     = 64 << 20 // bytes that Inspect reads of a file
)

// Inspect reads the directory and the code of a file of size bytes. ErrFormat if it is no TorchScript file, ErrRefused if it has what no
// model may have; else its errors are those of r.
func Inspect(r io.ReaderAt, size int64) error {
	limited := &limitedReaderAt{r: r, left: maxRead}
	err := inspect(limited, size)
	if limited.failed != nil { // and what the archive made of that says nothing
		return limited.failed
	}
	return err
}

func inspect(r io.ReaderAt, size int64) error {
	z, err := zip.NewReader(r, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // whose names are checked below
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	a := archive{size: size, seen: map[string]bool{}}
	for _, f := range z.File {
		if err := a.entry(f); err != nil {
			return err
		}
	}
	if err := a.whole(); err != nil {
		return err
	}
	for _, f := range a.code {
		code, err := read(f)
		if err != nil {
			return err
		}
		if err := checkSource(strings.TrimPrefix(f.Name, a.top+"/"), code); err != nil {
			return err
		}
	}
	return nil
}

// archive is what was seen of a file's directory.
type archive struct {
	size     int64
	top      string // the folder that all entries are in
	seen     map[string]bool
	code     []*zip.File
	stored   uint64 // bytes of entries in the file
	inflated uint64 // bytes of compressed entries, unpacked
	source   uint64 // bytes of code, unpacked
}

// entry checks one entry by what the directory says of it.
func (a *archive) entry(f *zip.File) error {
	top, name, ok := strings.Cut(f.Name, "/")
	if a.top == "" {
		a.top = top
	}
	a.stored += f.CompressedSize64
	switch {
	case !ok || name == "" || top != a.top || path.Clean(f.Name) != f.Name || strings.ContainsAny(f.Name, "\\\x00") || strings.HasPrefix(f.Name, "."):
		return fmt.Errorf("%w: its entry %.80q is not in the one folder that a model file has", ErrRefused, f.Name)
	case a.seen[name]:
		return fmt.Errorf("%w: it has two entries of the name %.80q", ErrRefused, name)
	case len(a.seen) == maxEntries:
		return fmt.Errorf("%w: it has more than %d entries", ErrRefused, maxEntries)
	case f.CompressedSize64 > uint64(a.size) || a.stored > uint64(a.size):
		return fmt.Errorf("%w: its entries have more bytes than the file", ErrRefused)
	case f.Method == zip.Store && f.UncompressedSize64 != f.CompressedSize64:
		return fmt.Errorf("%w: %.80q has two sizes", ErrRefused, name)
	case f.Method == zip.Deflate && !strings.HasPrefix(name, "code/"):
		return fmt.Errorf("%w: %.80q is compressed, which PyTorch does with code only", ErrRefused, name)
	case f.Method != zip.Store && f.Method != zip.Deflate:
		return fmt.Errorf("%w: %.80q is packed by an unknown method", ErrRefused, name)
	}
	a.seen[name] = true
	if f.Method == zip.Deflate {
		if a.inflated += f.UncompressedSize64; a.inflated > maxInflated || f.UncompressedSize64 > maxInflated {
			return fmt.Errorf("%w: unpacked it has more than %d MiB", ErrRefused, maxInflated>>20)
		}
	}
	if strings.HasPrefix(name, "code/") && strings.HasSuffix(name, ".py") {
		a.code = append(a.code, f)
		if a.source += f.UncompressedSize64; a.source > maxCode || f.UncompressedSize64 > maxCode {
			return fmt.Errorf("%w: it has more than %d MiB of code", ErrRefused, maxCode>>20)
		}
	}
	return nil
}

// whole checks that all is there that a model has.
func (a *archive) whole() error {
	switch {
	case a.seen["model.json"]:
		return fmt.Errorf("%w: it is of a format before PyTorch 1.4", ErrFormat)
	case !a.seen["data.pkl"]:
		return fmt.Errorf("%w: it has no data.pkl", ErrFormat)
	case !a.seen["constants.pkl"] || len(a.code) == 0:
		return fmt.Errorf("%w: it has tensors, but no code, as torch.save writes it", ErrFormat)
	}
	return nil
}

// read unpacks an entry, whose size is known to be small.
func read(f *zip.File) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("%w: unpack %.80q: %w", ErrFormat, f.Name, err)
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxCode+1))
	if err != nil {
		return nil, fmt.Errorf("%w: unpack %.80q: %w", ErrFormat, f.Name, err)
	}
	return b, nil
}

// limitedReaderAt reads so many bytes of a file and no more, and keeps the error that was none of the file's.
type limitedReaderAt struct {
	r      io.ReaderAt
	left   int64
	failed error
}

// ReadAt implements io.ReaderAt.
func (l *limitedReaderAt) ReadAt(p []byte, off int64) (int, error) {
	if l.left -= int64(len(p)); l.left < 0 {
		l.failed = fmt.Errorf("%w: its directory and code have more than %d MiB", ErrRefused, maxRead>>20)
		return 0, l.failed
	}
	n, err := l.r.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		l.failed = err
	}
	return n, err
}
