package torchscript

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

var (
	// ErrFormat says that the bytes are not a TorchScript file.
	ErrFormat = errors.New("not a TorchScript file that can be loaded (make one with torch.jit.script(model).save(path))")
	// ErrRefused says that a file has what no model may have.
	ErrRefused = errors.New("the model file is refused")
)

// Bounds of a file. The largest honest ones have some thousand tensors and some hundred KiB of code.
const (
	maxEntries  = 100_000
	maxCode     = 4 << 20 // bytes of code, unpacked
	maxClasses  = 10_000
	maxInflated = 64 << 20 // bytes of all that is compressed, unpacked: code, and where it came from
	maxPickles  = 8 << 20  // bytes of data.pkl and constants.pkl, and of all that tell where code came from
	maxRead     = 64 << 20 // bytes that Inspect reads of a file
)

// Pickles are what the objects of a model are made by.
type Pickles struct {
	Data, Constants []byte
}

// Inspect reads the directory, the code and the pickles of a file of size bytes. It returns the pickles, for whoever has to see that others
// read the same. ErrFormat if it is no TorchScript file, ErrRefused if it has what no model may have; else its errors are those of r.
func Inspect(r io.ReaderAt, size int64) (Pickles, error) {
	limited := &limitedReaderAt{r: r, left: maxRead}
	p, err := inspect(limited, size)
	if limited.failed != nil { // and what the archive made of that says nothing
		return Pickles{}, limited.failed
	}
	return p, err
}

func inspect(r io.ReaderAt, size int64) (p Pickles, err error) {
	if err := checkEnding(r, size); err != nil {
		return p, err
	}
	z, err := zip.NewReader(r, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // whose names are checked below
		return p, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	a := archive{size: size, seen: map[string]*zip.File{}}
	for _, f := range z.File {
		if err := a.entry(f); err != nil {
			return p, err
		}
	}
	if err := a.whole(); err != nil {
		return p, err
	}
	classes := 0
	for _, f := range a.code {
		code, err := read(f)
		if err != nil {
			return p, err
		}
		if classes += bytes.Count(code, []byte("class ")); classes > maxClasses {
			return p, fmt.Errorf("%w: it has more than %d classes", ErrRefused, maxClasses)
		}
		if err := checkSource(strings.TrimPrefix(f.Name, a.top+"/"), code); err != nil {
			return p, err
		}
	}
	if p.Constants, err = a.pickle("constants.pkl", tuple); err != nil {
		return p, err
	}
	if p.Data, err = a.pickle("data.pkl", object); err != nil {
		return p, err
	}
	for _, name := range a.debug {
		if _, err := a.pickle(name, tuple); err != nil {
			return p, err
		}
	}
	return p, nil
}

// pickle reads a pickle whose one value is of a kind. Only the objects of data.pkl may be of classes, and only it and the constants have tensors.
func (a *archive) pickle(name string, root kind) ([]byte, error) {
	f := a.seen[strings.ToLower(name)]
	b, err := read(f)
	if err != nil {
		return nil, err
	}
	m := machine{all: b, classes: name == "data.pkl", used: map[string]bool{}, most: maxValues}
	if folder, ok := strings.CutSuffix(name, ".pkl"); ok {
		m.records = func(key string) (int64, bool) {
			f := a.seen[folder+"/"+key]
			if f == nil {
				return 0, false
			}
			return int64(f.UncompressedSize64), true //nolint:gosec // it is not larger than the file
		}
	}
	got, err := m.run()
	if got.kind == longTuple {
		got.kind = tuple
	}
	if err == nil && got.kind != root {
		err = failure("its value is of another kind than a model's")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrRefused, strings.TrimPrefix(f.Name, a.top+"/"), err)
	}
	return b, nil
}

// archive is what was seen of a file's directory.
type archive struct {
	size     int64
	top      string               // the folder that all entries are in
	seen     map[string]*zip.File // by name in small letters, for libtorch does not tell case apart
	code     []*zip.File
	debug    []string // names of what tells where code came from, which libtorch reads when code fails
	stored   uint64   // bytes of entries in the file
	inflated uint64   // bytes of compressed entries, unpacked
	source   uint64   // bytes of code, unpacked
	pickled  uint64   // bytes of pickles
	told     uint64   // bytes of those that tell where code came from
}

// entry checks one entry by what the directory says of it.
func (a *archive) entry(f *zip.File) error {
	top, name, ok := strings.Cut(f.Name, "/")
	if a.top == "" {
		a.top = top
	}
	a.stored += f.CompressedSize64
	key := strings.ToLower(name)
	wrong := checkName(f, name)
	switch {
	case !ok || name == "" || top != a.top:
		return fmt.Errorf("%w: its entry %.80q is not in the one folder that a model file has", ErrRefused, f.Name)
	case wrong != "":
		return fmt.Errorf("%w: its entry %.80q %s", ErrRefused, f.Name, wrong)
	case a.seen[key] != nil:
		return fmt.Errorf("%w: it has two entries of the name %.80q, which libtorch reads without regard to case", ErrRefused, name)
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
	a.seen[key] = f
	if f.Method == zip.Deflate {
		if a.inflated += f.UncompressedSize64; a.inflated > maxInflated || f.UncompressedSize64 > maxInflated {
			return fmt.Errorf("%w: unpacked it has more than %d MiB", ErrRefused, maxInflated>>20)
		}
	}
	return a.sort(f, name)
}

// sort keeps the entries that are read, which are of limited sizes.
func (a *archive) sort(f *zip.File, name string) error {
	size := f.UncompressedSize64
	switch {
	case strings.HasSuffix(name, ".debug_pkl"):
		a.debug = append(a.debug, name)
		if a.told += size; a.told > maxPickles || size > maxPickles {
			return fmt.Errorf("%w: what tells where its code came from has more than %d MiB", ErrRefused, maxPickles>>20)
		}
	case name == "data.pkl" || name == "constants.pkl":
		if a.pickled += size; a.pickled > maxPickles || size > maxPickles {
			return fmt.Errorf("%w: its values beside the tensors have more than %d MiB", ErrRefused, maxPickles>>20)
		}
	case strings.HasPrefix(name, "code/"):
		a.code = append(a.code, f)
		if a.source += size; a.source > maxCode || size > maxCode {
			return fmt.Errorf("%w: it has more than %d MiB of code", ErrRefused, maxCode>>20)
		}
	}
	return nil
}

// whole checks that all is there that a model has.
func (a *archive) whole() error {
	switch {
	case a.seen["model.json"] != nil:
		return fmt.Errorf("%w: it is of a format before PyTorch 1.4", ErrFormat)
	case a.seen["data.pkl"] == nil:
		return fmt.Errorf("%w: it has no data.pkl", ErrFormat)
	case a.seen["constants.pkl"] == nil || len(a.code) == 0:
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
	b, err := io.ReadAll(r) // which ends where the directory says
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
