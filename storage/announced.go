package storage

import (
	"fmt"
	"hash/crc32"
	"io"
)

// Announced is a body whose checksum is known before it is sent. A store takes it in one request although it cannot be read twice,
// and refuses one that has other bytes.
type Announced struct {
	io.Reader
	CRC32C uint32 // Castagnoli
}

// CRC32C is the checksum of the next size bytes of r, which is wound back to where it was. ErrSize if it has fewer.
func CRC32C(r io.ReadSeeker, size int64) (uint32, error) {
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	n, err := io.Copy(sum, io.LimitReader(r, size))
	if err != nil {
		return 0, err
	}
	if n < size {
		return 0, fmt.Errorf("%w: %d bytes fewer than announced", ErrSize, size-n)
	}
	if _, err := r.Seek(-n, io.SeekCurrent); err != nil {
		return 0, err
	}
	return sum.Sum32(), nil
}
