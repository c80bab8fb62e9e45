package torch

// #include <stdlib.h>
// #include "shim.h"
import "C"

import (
	"fmt"
	"unsafe"
)

// StateOf is State for the tensors of these names, in their order. The memory of spare, tensors that nobody needs any more, is used
// where it fits: 1 GiB of new memory takes longer than the copy. ErrStateMismatch for a name that is none.
func (t *Trainer) StateOf(names []string, spare []Tensor) ([]Tensor, error) {
	if t.handle == nil {
		return nil, ErrClosed
	}
	cnames := make([]*C.char, len(names))
	for i, name := range names {
		cnames[i] = C.CString(name)
		defer C.free(unsafe.Pointer(cnames[i]))
	}
	var list *C.tdm_tensors
	if err := check(C.tdm_trainer_state_of(t.handle, unsafe.SliceData(cnames), C.size_t(len(names)), &list)); err != nil {
		return nil, fmt.Errorf("read training state: %w", err)
	}
	return takeTensors(list, spare), nil
}

// StateSizes returns the names of the state's tensors and the bytes of each, in the order of State. It copies nothing.
func (t *Trainer) StateSizes() (names []string, bytes []int64, err error) {
	if t.handle == nil {
		return nil, nil, ErrClosed
	}
	var list *C.tdm_tensors
	if err := check(C.tdm_trainer_state_sizes(t.handle, &list)); err != nil {
		return nil, nil, fmt.Errorf("read training state: %w", err)
	}
	defer C.tdm_tensors_free(list)
	for i := range C.tdm_tensors_len(list) {
		v := C.tdm_tensors_at(list, i)
		names, bytes = append(names, C.GoString(v.name)), append(bytes, int64(v.bytes))
	}
	return names, bytes, nil
}
