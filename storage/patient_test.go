package storage_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"tandem.dev/storage"
	"tandem.dev/storage/memstore"
	"tandem.dev/storage/storetest"
)

func TestPatientIsAStore(t *testing.T) {
	storetest.Run(t, storetest.Suite{Large: 1 << 20, New: func(*testing.T) storage.Store { return storage.Patient(memstore.New(memstore.Config{})) }})
}

// TestPatientWaitsForKeys: keys that the store refuses are an outage, for each operation, and the error says what to do; other errors stay.
func TestPatientWaitsForKeys(t *testing.T) {
	ctx := t.Context()
	for _, c := range []struct{ says, want error }{
		{storage.ErrDenied, storage.ErrUnavailable}, {storage.ErrUnavailable, storage.ErrUnavailable},
		{storage.ErrFull, storage.ErrFull}, {storage.ErrNotFound, storage.ErrNotFound},
	} {
		s := storage.Patient(memstore.New(memstore.Config{Hook: func(context.Context, memstore.Op) memstore.Fault { return memstore.Fault{Err: c.says} }}))
		_, _, getErr := s.Get(ctx, "a")
		_, rangeErr := s.GetRange(ctx, "a", 0, 1)
		_, headErr := s.Head(ctx, "a")
		var listErr error
		for _, listErr = range s.List(ctx, "a") {
		}
		for what, err := range map[string]error{
			"get": getErr, "range": rangeErr, "head": headErr, "list": listErr,
			"put": s.Put(ctx, "a", strings.NewReader("x"), 1), "commit": s.PutIfAbsent(ctx, "a", []byte("x")), "delete": s.Delete(ctx, "a"),
		} {
			if !errors.Is(err, c.want) || errors.Is(err, storage.ErrDenied) {
				t.Errorf("%s of a store that says %q: %v", what, c.says, err)
			}
			if told := strings.Contains(err.Error(), "tandem store rotate"); told != errors.Is(c.says, storage.ErrDenied) {
				t.Errorf("%s of a store that says %q tells of the keys: %q", what, c.says, err)
			}
		}
	}
}
