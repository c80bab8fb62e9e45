package gateway

import (
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
)

const (
	// firstPiece and largestPiece are the bytes of the pieces that a body is read in. Each is twice the one before: a body takes at most
	// some twice what came of it, and nothing is taken for what is only announced.
	firstPiece   = 4 << 10
	largestPiece = 256 << 10
)

// body is a request's. It stays in the pieces that it was read in: one buffer that grows while it comes would take more than twice its
// bytes, and packed bodies become large for little.
type body struct {
	pieces net.Buffers
	size   int64
}

// readBody reads r to its end.
func readBody(r io.Reader) (body, error) {
	var b body
	for size := firstPiece; ; size = min(2*size, largestPiece) {
		piece := make([]byte, size)
		n, err := fill(r, piece)
		b.pieces, b.size = append(b.pieces, piece[:n]), b.size+int64(n)
		switch {
		case errors.Is(err, io.EOF):
			return b, nil
		case err != nil:
			return body{}, err
		}
	}
}

// fill is io.ReadFull, but for an end that comes early: that stays the error that it is, which tells a client that hung up.
func fill(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var more int
		more, err = r.Read(p[n:])
		n += more
	}
	return n, err
}

// reader reads it from the beginning.
func (b body) reader() io.ReadCloser {
	if b.size == 0 {
		return http.NoBody
	}
	pieces := slices.Clone(b.pieces) // reading takes them away
	return io.NopCloser(&pieces)
}
