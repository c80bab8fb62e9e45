package embedded

import (
	"os"
	"path/filepath"

	"github.com/versity/versitygw/backend/meta"
)

// sidecar keeps metadata in files beside the objects. Extended attributes come and go with their object; a file beside it is
// written before the object is there, and stays where the writer or a deletion is lost in the middle. versitygw asks for the ETag
// to know whether an object exists, so a commit could be refused for an object that nobody could read yet, or ever. Here the
// object itself decides.
type sidecar struct {
	meta.SideCar
	root string // absolute; the folder of the buckets
}

const etag = "etag" // versitygw's name of the attribute

// RetrieveAttribute finds no ETag where there is no object, and an empty one for a file that has none.
func (s sidecar) RetrieveAttribute(f *os.File, bucket, object, attribute string) ([]byte, error) {
	value, err := s.SideCar.RetrieveAttribute(f, bucket, object, attribute)
	if f != nil || object == "" || attribute != etag {
		return value, err
	}
	switch info, statErr := os.Stat(filepath.Join(s.root, bucket, object)); {
	case statErr != nil:
		return nil, meta.ErrNoSuchKey
	case err != nil && info.Mode().IsRegular():
		return nil, nil
	}
	return value, err
}
