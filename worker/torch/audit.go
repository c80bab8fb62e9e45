package torch

// #include <stdlib.h>
// #include "shim.h"
import "C"

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"unsafe"

	"tandem.dev/storage/torchscript"
)

// allowedOperators are those of package torchscript, one a line.
var allowedOperators = sync.OnceValue(func() string { return strings.Join(torchscript.Operators(), "\n") })

// audit looks at a file before it is loaded, for loading runs code of it: what is in the archive, every object and tensor, and every operator of
// every function that loading compiles.
func audit(b []byte) error {
	p, err := torchscript.Inspect(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return err
	}
	allowed := C.CString(allowedOperators())
	defer C.free(unsafe.Pointer(allowed))
	err = named(check(C.tdm_module_audit(view(b), view(p.Data), view(p.Constants), allowed)))
	if err != nil {
		return fmt.Errorf("look at its code and objects: %w", err)
	}
	return nil
}

// view is bytes for C++, which keeps them no longer than the call. They hold no pointers.
func view(b []byte) C.tdm_view {
	return C.tdm_view{data: (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(b))), bytes: C.size_t(len(b))}
}

// named is an error that says which operator a model may not use.
func named(err error) error {
	var used *operatorError
	if errors.As(err, &used) {
		return torchscript.OperatorError(used.operator, used.where)
	}
	return err
}

// operatorError is what the audit found.
type operatorError struct{ operator, where string }

func (e *operatorError) Error() string { return e.operator + " in " + e.where }

// registeredOperators are the names of all operators of this libtorch.
func registeredOperators() ([]string, error) {
	var data *C.uint8_t
	var n C.size_t
	if err := check(C.tdm_operators(&data, &n)); err != nil {
		return nil, fmt.Errorf("list the operators: %w", err)
	}
	defer C.tdm_bytes_free(data)
	return strings.Fields(string(unsafe.Slice((*byte)(data), n))), nil
}
