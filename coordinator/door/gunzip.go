package door

import (
	"compress/gzip"
	"fmt"
	"io"

	"connectrpc.com/connect"
)

// NewGzip makes what packs a message.
func NewGzip() connect.Compressor { return gzip.NewWriter(io.Discard) }

// NewGunzip makes what unpacks a message up to a limit in bytes: the transcoder unpacks messages whole.
func NewGunzip(limit int64) connect.Decompressor { return &gunzip{limit: limit} }

type gunzip struct {
	gzip.Reader
	limit, left int64
}

// Reset implements connect.Decompressor.
func (g *gunzip) Reset(src io.Reader) error {
	g.left = g.limit
	return g.Reader.Reset(src)
}

// Read implements connect.Decompressor.
func (g *gunzip) Read(p []byte) (int, error) {
	n, err := g.Reader.Read(p)
	if g.left -= int64(n); g.left < 0 {
		return 0, connect.NewError(connect.CodeResourceExhausted, fmt.Errorf("the message is too large when it is unpacked: the limit is %d bytes", g.limit))
	}
	return n, err
}
