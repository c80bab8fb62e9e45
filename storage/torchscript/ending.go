package torchscript

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Sizes of what stands at the end of a ZIP archive (APPNOTE.TXT of PKWARE, 4.3.14 to 4.3.16).
const (
	endSize     = 22 // end of central directory
	locatorSize = 20 // where its 64-bit form is
	wideSize    = 56 // its 64-bit form
)

const (
	endSignature     = 0x06054b50
	locatorSignature = 0x07064b50
	wideSignature    = 0x06064b50
)

// ending is what the end of an archive says of its directory.
type ending struct {
	entries, bytes, offset uint64
}

// checkEnding wants the directory, its end in two forms, and nothing after it: the one way in which PyTorch writes them. Readers look for the
// end in different ways, and not all of them read the 64-bit form where the other one would do, so that a file could have two directories.
func checkEnding(r io.ReaderAt, size int64) error {
	tail := make([]byte, min(size, wideSize+locatorSize+endSize))
	if _, err := r.ReadAt(tail, size-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	le := binary.LittleEndian
	if len(tail) < endSize || le.Uint32(tail[len(tail)-endSize:]) != endSignature {
		return fmt.Errorf("%w: it does not end as a ZIP archive without a comment does", ErrFormat)
	}
	tail, end := tail[:len(tail)-endSize], tail[len(tail)-endSize:]
	short := ending{uint64(le.Uint16(end[10:])), uint64(le.Uint32(end[12:])), uint64(le.Uint32(end[16:]))}
	begin := uint64(size) - endSize //nolint:gosec // it is not negative
	dir := short
	if len(tail) == wideSize+locatorSize && le.Uint32(tail[wideSize:]) == locatorSignature {
		if le.Uint32(tail) != wideSignature || le.Uint64(tail[wideSize+8:]) != begin-locatorSize-wideSize {
			return fmt.Errorf("%w: the 64-bit end of its directory is not where PyTorch writes it", ErrRefused)
		}
		dir = ending{le.Uint64(tail[32:]), le.Uint64(tail[40:]), le.Uint64(tail[48:])}
		begin -= locatorSize + wideSize
		if short.entries != min(dir.entries, 1<<16-1) || short.bytes != min(dir.bytes, 1<<32-1) || short.offset != min(dir.offset, 1<<32-1) {
			return fmt.Errorf("%w: it has two directories", ErrRefused)
		}
	}
	if dir.bytes > begin || dir.offset != begin-dir.bytes {
		return fmt.Errorf("%w: there are bytes between its directory and its end, or before its first entry", ErrRefused)
	}
	return nil
}
