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

// audit looks at a file before it is loaded, for loading runs code of it: what is in the archive, and every operator of
// every function in its code.
func audit(b []byte) error {
	if err := torchscript.Inspect(bytes.NewReader(b), int64(len(b))); err != nil {
		return err
	}
	allowed := C.CString(allowedOperators())
	defer C.free(unsafe.Pointer(allowed))
	err := check(C.tdm_module_audit((*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(b))), C.size_t(len(b)), allowed))
	var used *operatorError
	if errors.As(err, &used) {
		return torchscript.OperatorError(used.operator, used.where)
	}
	if err != nil {
		return fmt.Errorf("compile its code: %w", err)
	}
	return nil
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
