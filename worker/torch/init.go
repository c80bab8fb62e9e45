package torch

/*
#cgo CXXFLAGS: -O3 -Wall
#cgo LDFLAGS: -ltorch -ltorch_cpu -lc10 -lstdc++ -ldl
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"unsafe"

	"tandem.dev/worker/fault"
)

// Options are the settings of libtorch in this process.
type Options struct {
	Threads       int  // for one operator; 0 leaves libtorch's choice, one a core
	Deterministic bool // only algorithms that give the same bits every time, also on CUDA
}

// Init sets libtorch up. It is called once, before anything else of this package.
// It fails where the environment arms a fault (see worker/fault) that does not exist.
func Init(o Options) error {
	faults, err := fault.Armed()
	if err != nil {
		return err
	}
	for _, f := range faults {
		point, action := C.CString(f.Point), C.CString(f.Action)
		C.tdm_fault_arm(point, C.int64_t(f.Step), action)
		C.free(unsafe.Pointer(point))
		C.free(unsafe.Pointer(action))
	}
	if file := fault.File(); file != "" {
		taken, fired := C.CString(file+fault.Taken), C.CString(file+fault.Fired)
		C.tdm_fault_file(taken, fired)
		C.free(unsafe.Pointer(taken))
		C.free(unsafe.Pointer(fired))
	}
	return check(C.tdm_init(C.int32_t(o.Threads), cbool(o.Deterministic)))
}

// check is the error of a status.
func check(s C.tdm_status) error {
	if s.code == C.TDM_OK {
		return nil
	}
	return errorOf(int(s.code), C.GoString(&s.text[0]))
}

func cbool(b bool) C.int32_t {
	if b {
		return 1
	}
	return 0
}
