package door

import (
	"compress/gzip"
	"fmt"
	"io"

	"connectrpc.com/connect"
)

// NewGzip makes what packs a message.
func NewGzip() connect.Compressor { return gzip.NewWriter(io.Discard) }

// Gunzips makes those that unpack a message up to a limit in bytes: the transcoder unpacks messages whole.
func Gunzips(limit int64) func() connect.Decompressor {
	return func() connect.Decompressor { return &gunzip{limit: limit} }
}

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
		err := fmt.Errorf("the message is too large when it is unpacked: the limit is %d bytes", g.limit)
		return 0, connect.NewError(connect.CodeResourceExhausted, err)
	}
	return n, err
}
