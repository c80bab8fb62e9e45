package torch

// #include <stdlib.h>
// #include "shim.h"
import "C"

import (
	"fmt"
	"unsafe"
)

// takeTensors copies a list to Go and frees it. It writes over spare tensors of the same name and size.
func takeTensors(list *C.tdm_tensors, spare []Tensor) []Tensor {
	defer C.tdm_tensors_free(list)
	memory := make(map[string][]byte, len(spare))
	for _, t := range spare {
		memory[t.Name] = t.Data
	}
	out := make([]Tensor, C.tdm_tensors_len(list))
	for i := range out {
		v := C.tdm_tensors_at(list, C.size_t(i))
		t := Tensor{Name: C.GoString(v.name), DType: C.GoString(v.dtype)}
		if t.Data = memory[t.Name]; len(t.Data) != int(v.bytes) {
			t.Data = make([]byte, v.bytes)
		}
		for _, d := range unsafe.Slice(v.shape, v.dims) {
			t.Shape = append(t.Shape, int64(d))
		}
		copy(t.Data, unsafe.Slice((*byte)(v.data), v.bytes))
		out[i] = t
	}
	return out
}

// giveTensors copies a list to libtorch; free it with tdm_tensors_free.
func giveTensors(tensors []Tensor) (*C.tdm_tensors, error) {
	list := C.tdm_tensors_new()
	for _, t := range tensors {
		name, dtype := C.CString(t.Name), C.CString(t.DType)
		s := C.tdm_tensors_add(list, name, dtype, cshape(t.Shape), C.int32_t(len(t.Shape)),
			unsafe.Pointer(unsafe.SliceData(t.Data)), C.size_t(len(t.Data)))
		C.free(unsafe.Pointer(name))
		C.free(unsafe.Pointer(dtype))
		if err := check(s); err != nil {
			C.tdm_tensors_free(list)
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
	}
	return list, nil
}

func cshape(shape []int64) *C.int64_t {
	return (*C.int64_t)(unsafe.SliceData(shape))
}
