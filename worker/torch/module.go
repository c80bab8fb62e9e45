package torch

// #include <stdlib.h>
// #include "shim.h"
import "C"

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	"github.com/sugarme/gotch"
	"github.com/sugarme/gotch/libtch"
	"github.com/sugarme/gotch/ts"
)

// Module is a TorchScript module. Its methods may run at the same time as long
// as none of them changes it (Load, To, SetTraining, Close and training do).
type Module struct {
	cm     *ts.CModule // nil once closed
	device Device
}

// LoadModule reads a TorchScript file onto a device. The module is in the mode
// it was saved in: see SetTraining. ErrRefused, before any of its code runs, if it uses
// an operator that is not on the list of package torchscript.
func LoadModule(b []byte, d Device) (*Module, error) {
	if err := audit(b); err != nil {
		return nil, err
	}
	// gotch keeps its last error per thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	on := gotch.CPU
	if d.CUDA {
		on = gotch.CudaBuilder(uint(d.Index))
	}
	cm, err := ts.ModuleLoadDataOnDevice(bytes.NewReader(b), on)
	if err != nil {
		text := saying(strings.TrimPrefix(err.Error(), "Libtorch API Error: "))
		if d.CUDA && strings.Contains(text, "CUDA") {
			return nil, fmt.Errorf("%w: %s", ErrDevice, text)
		}
		return nil, fmt.Errorf("%w: libtorch cannot load it: %s", ErrNotTorchScript, text)
	}
	m := &Module{cm: cm, device: d}
	allowed := C.CString(allowedOperators())
	defer C.free(unsafe.Pointer(allowed))
	if err := named(check(C.tdm_module_check(m.handle(), C.uint64_t(len(b)), allowed))); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// saying is the first line of a message of libtorch that says something.
func saying(text string) string {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			return line
		}
	}
	return "it does not say why"
}

func (m *Module) handle() C.tdm_module { return C.tdm_module(m.cm.Cmodule) }

// Device is where the module's tensors are.
func (m *Module) Device() Device { return m.device }

// Save returns the module as a TorchScript file, which any libtorch or PyTorch loads.
func (m *Module) Save() ([]byte, error) {
	if m.cm == nil {
		return nil, ErrClosed
	}
	var data *C.uint8_t
	var n C.size_t
	if err := check(C.tdm_module_save(m.handle(), &data, &n)); err != nil {
		return nil, fmt.Errorf("save module: %w", err)
	}
	defer C.tdm_bytes_free(data)
	return bytes.Clone(unsafe.Slice((*byte)(data), n)), nil
}

// Parameters returns copies of the parameters by name, in the module's order.
func (m *Module) Parameters() ([]Tensor, error) { return m.tensors(0) }

// Buffers returns copies of the buffers by name.
func (m *Module) Buffers() ([]Tensor, error) { return m.tensors(1) }

// State returns copies of parameters and buffers by name.
func (m *Module) State() ([]Tensor, error) { return m.tensors(2) }

func (m *Module) tensors(kind int) ([]Tensor, error) {
	if m.cm == nil {
		return nil, ErrClosed
	}
	var list *C.tdm_tensors
	if err := check(C.tdm_module_tensors(m.handle(), C.int32_t(kind), &list)); err != nil {
		return nil, fmt.Errorf("read module: %w", err)
	}
	return takeTensors(list, nil), nil
}

// Load writes parameters and buffers by name. All of them have to be given, with
// their types and shapes; else ErrStateMismatch names the first difference and nothing is written.
func (m *Module) Load(state []Tensor) error {
	if m.cm == nil {
		return ErrClosed
	}
	list, err := giveTensors(state)
	if err != nil {
		return err
	}
	defer C.tdm_tensors_free(list)
	return check(C.tdm_module_load(m.handle(), list))
}

// To moves the module to a device.
func (m *Module) To(d Device) error {
	if m.cm == nil {
		return ErrClosed
	}
	if err := check(C.tdm_module_to(m.handle(), C.tdm_device(d.index()))); err != nil {
		return err
	}
	m.device = d
	return nil
}

// Double turns parameters and buffers into F64. Nothing but a comparison that rounding must not decide needs that:
// a Trainer made from the module gives it its inputs in F64, Forward does not.
func (m *Module) Double() error {
	if m.cm == nil {
		return ErrClosed
	}
	return check(C.tdm_module_double(m.handle()))
}

// SetTraining switches between training (dropout, batch statistics) and evaluation.
func (m *Module) SetTraining(on bool) error {
	if m.cm == nil {
		return ErrClosed
	}
	return check(C.tdm_module_train(m.handle(), cbool(on)))
}

// Forward runs the model on an F32 tensor, rows first, without gradients, in the module's present mode.
func (m *Module) Forward(x Tensor) (Tensor, error) {
	if m.cm == nil {
		return Tensor{}, ErrClosed
	}
	if n := elements(x.Shape); x.DType != "F32" || n < 0 || 4*n != int64(len(x.Data)) {
		return Tensor{}, fmt.Errorf("%w: an input of %s %v with %d bytes is no F32 tensor", ErrShape, x.DType, x.Shape, len(x.Data))
	}
	var in C.tdm_tensor
	err := check(C.tdm_tensor_from_f32((*C.float)(unsafe.Pointer(unsafe.SliceData(x.Data))), cshape(x.Shape),
		C.int32_t(len(x.Shape)), C.tdm_device(m.device.index()), &in))
	if err != nil {
		return Tensor{}, fmt.Errorf("copy input: %w", err)
	}
	defer C.tdm_tensor_free(in)
	var out C.tdm_tensor
	if err := check(C.tdm_module_forward(m.handle(), in, &out)); err != nil {
		return Tensor{}, err
	}
	defer C.tdm_tensor_free(out)
	var list *C.tdm_tensors
	if err := check(C.tdm_tensor_to_host(out, &list)); err != nil {
		return Tensor{}, fmt.Errorf("copy output: %w", err)
	}
	return takeTensors(list, nil)[0], nil
}

// Close frees the module. A Trainer made from it keeps its own hold on it.
func (m *Module) Close() {
	if m.cm != nil {
		m.cm.Drop()
		m.cm = nil
	}
}

// Compile makes a module on the CPU, in training mode, with parameters drawn from the seed.
func Compile(def ModuleDef, seed int64) (*Module, error) {
	unit := C.tdm_unit_new()
	defer C.tdm_unit_free(unit)
	handle, err := compile(unit, def, seed, "")
	if err != nil {
		return nil, err
	}
	return &Module{cm: &ts.CModule{Cmodule: libtch.Cmodule(handle)}}, nil
}

// compile makes the module at path ("" or "net.0.") and all below it.
func compile(unit *C.tdm_unit, def ModuleDef, seed int64, path string) (_ C.tdm_module, err error) {
	var m C.tdm_module
	class := C.CString(def.Class)
	defer C.free(unsafe.Pointer(class))
	if err := check(C.tdm_module_new(unit, class, &m)); err != nil {
		return nil, fmt.Errorf("make module %s: %w", def.Class, err)
	}
	defer func() {
		if err != nil {
			C.tdm_module_free(m)
		}
	}()
	add := func(p ParamDef, buffer bool) error {
		data := make([]float32, elements(p.Shape))
		if p.Init != nil {
			data = p.Init.Fill(seed, path+p.Name, elements(p.Shape))
		}
		name := C.CString(p.Name)
		defer C.free(unsafe.Pointer(name))
		return check(C.tdm_module_add_tensor(m, name, cshape(p.Shape), C.int32_t(len(p.Shape)), (*C.float)(unsafe.SliceData(data)), cbool(buffer), cbool(p.Integer)))
	}
	for _, p := range def.Params {
		if err := add(p, false); err != nil {
			return nil, fmt.Errorf("add parameter %s%s: %w", path, p.Name, err)
		}
	}
	for _, p := range def.Buffers {
		if err := add(p, true); err != nil {
			return nil, fmt.Errorf("add buffer %s%s: %w", path, p.Name, err)
		}
	}
	for _, c := range def.Children {
		child, err := compile(unit, c.Module, seed, path+c.Name+".")
		if err != nil {
			return nil, err
		}
		name := C.CString(c.Name)
		err = check(C.tdm_module_add_child(m, name, child))
		C.free(unsafe.Pointer(name))
		C.tdm_module_free(child) // the parent has its own hold on it
		if err != nil {
			return nil, fmt.Errorf("add module %s%s: %w", path, c.Name, err)
		}
	}
	source := C.CString(def.Forward)
	defer C.free(unsafe.Pointer(source))
	if err := check(C.tdm_module_define(m, source)); err != nil {
		return nil, fmt.Errorf("compile %s%s: %w", path, def.Class, err)
	}
	return m, nil
}
