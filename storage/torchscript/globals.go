package torchscript

import (
	"math"
	"regexp"
	"strings"
)

// callee is what a global does when it is called.
type callee uint8

const (
	nothing   callee = iota
	ofClass          // makes an object of a class of the file
	ofTensor         // makes a tensor
	ofStorage        // names the type of a storage's elements, and is never called
	ofHooks          // makes the hooks of a tensor, which are always none
	ofList           // gives a list the type of its elements
	ofTag            // gives a list or a dict its type
	ofDevice         // makes a device
	ofComplex        // makes a number
)

// globals are all that a pickle may name, beside the classes of the file: what libtorch's Pickler writes for the types that a model
// may have. Quantized and sparse tensors are none of these: libtorch makes them without a look at what they are made of.
var globals = map[string]callee{
	"torch._utils._rebuild_tensor_v2":    ofTensor,
	"collections.OrderedDict":            ofHooks,
	"torch.jit._pickle.restore_type_tag": ofTag,
	"torch.jit._pickle.build_intlist":    ofList,
	"torch.jit._pickle.build_tensorlist": ofList,
	"torch.jit._pickle.build_doublelist": ofList,
	"torch.jit._pickle.build_boollist":   ofList,
	"torch.device":                       ofDevice,
	"builtins.complex":                   ofComplex,
}

// storages are the bytes of an element by the name of the storage.
var storages = map[string]int64{
	"torch.ByteStorage": 1, "torch.CharStorage": 1, "torch.BoolStorage": 1, "torch.ShortStorage": 2, "torch.IntStorage": 4,
	"torch.LongStorage": 8, "torch.HalfStorage": 2, "torch.BFloat16Storage": 2, "torch.FloatStorage": 4, "torch.DoubleStorage": 8,
	"torch.ComplexHalfStorage": 4, "torch.ComplexFloatStorage": 8, "torch.ComplexDoubleStorage": 16,
}

// classRE is the name of a class of the file.
var classRE = regexp.MustCompile(`^__torch__(?:\.[A-Za-z0-9_]+)+$`)

func (m *machine) global() error {
	module, class := m.line(), m.line()
	if module == nil || class == nil {
		return errTorn
	}
	if len(module)+len(class) > maxName {
		return failed("the name of a class in it has more than %d characters", maxName)
	}
	name := string(module) + "." + string(class)
	v := value{kind: global, depth: 1}
	switch element := storages[name]; {
	case element > 0 && m.records != nil:
		v.what, v.n = ofStorage, element
	case globals[name] == ofList, globals[name] != nothing && m.records != nil:
		v.what = globals[name]
	case strings.HasPrefix(name, "__torch__.torch.classes."):
		return failed("it makes an object of %.200q, a class of a C++ library", name)
	case m.classes && classRE.MatchString(name):
		v.what = ofClass
	default:
		return failed("it names %.200q, which no model may have", name)
	}
	return m.push(v)
}

// object makes one: it takes a class and no arguments.
func (m *machine) object() error {
	of, err := m.top(2)
	if err != nil {
		return err
	}
	if of[0].kind != global || of[0].what != ofClass || !of[1].is(tuple, 0) {
		return failure("it makes an object of what is not a class")
	}
	return m.push(value{kind: made, depth: 1})
}

// call fills an object, or calls a global.
func (m *machine) call(op byte) error {
	of, err := m.top(2)
	if err != nil {
		return err
	}
	f, arg := of[0], of[1]
	if op == opBuild {
		if f.kind != made {
			return failure("it fills what is not an object")
		}
		return m.push(value{kind: object, depth: arg.depth + 1})
	}
	if f.kind != global {
		return failure("it calls what cannot be called")
	}
	out, ok := value{}, false
	switch f.what {
	case ofClass: // an enumeration
		out, ok = value{kind: object, depth: arg.depth + 1}, true
	case ofTensor:
		if err := checkTensor(arg); err != nil {
			return err
		}
		out, ok = value{kind: tensor, depth: 1}, true
	case ofHooks:
		ok = arg.is(tuple, 0)
	case ofList:
		if ok = arg.is(tuple, 1) && arg.elements()[0].kind == list; ok {
			out = arg.elements()[0]
		}
	case ofTag:
		a := arg.elements()
		if ok = arg.is(tuple, 2) && (a[0].kind == list || a[0].kind == dict) && a[1].kind == text; ok {
			if out = a[0]; !m.mayType(a[1]) {
				return failed("its types have more than %d characters in all, or one has more than %d, or more than %d brackets in each other",
					maxTypeTexts, maxTypeText, maxNesting)
			}
		}
	case ofDevice:
		ok = arg.is(tuple, 1) && arg.elements()[0].kind == text
	case ofComplex:
		ok = arg.is(tuple, 2)
	case nothing, ofStorage:
	}
	if !ok {
		return failure("it calls one of torch's functions with arguments that this never has")
	}
	return m.push(out)
}

// Bounds of names, in bytes: those of PyTorch have a hundred.
const (
	maxName      = 1000     // of a class, and of a word of code
	maxTypeText  = 64 << 10 // of a type
	maxTypeTexts = 8 << 20  // of all types: one text may stand for very many, and libtorch parses it each time
)

// mayType takes the text of a type.
func (m *machine) mayType(v value) bool {
	t := m.text(v)
	m.typed += len(t)
	return m.typed <= maxTypeTexts && !tooDeep(t)
}

// tooDeep tells whether libtorch, which parses the text of a type by recursion, should not see it.
func tooDeep(t string) bool {
	open, most := 0, 0
	for i := range len(t) {
		switch t[i] {
		case '[', '(':
			open++
			most = max(most, open)
		case ']', ')':
			open--
		}
	}
	return len(t) > maxTypeText || most > maxNesting
}

// is tells whether v is of a kind and has so many elements.
func (v value) is(k kind, elements int) bool { return v.kind == k && len(v.elements()) == elements }

// storage takes what names the bytes of tensors: "storage", the type, the key, the device and the number of elements.
func (m *machine) storage() error {
	of, err := m.top(1)
	if err != nil {
		return err
	}
	a := of[0].elements()
	if m.records == nil || !of[0].is(tuple, 5) || a[0].kind != text || m.text(a[0]) != "storage" || a[1].what != ofStorage ||
		a[2].kind != text || a[3].kind != text || a[4].kind != integer {
		return failure("it has a tensor whose storage is not described as torch does")
	}
	key, element, n := m.text(a[2]), a[1].n, a[4].n
	have, ok := m.records(key)
	switch {
	case !ok && n != 0:
		return failed("it has a tensor whose bytes, of the name %.80q, are not in the file", key)
	case n < 0 || n > have/element:
		return failed("it has a tensor with storage for %d elements of %d bytes, while the file has %d bytes of it, in %.80q", n, element, have, key)
	case m.used[key]: // each would be read once more
		return failed("it has two storages of the bytes of %.80q", key)
	}
	m.used[key] = true
	return m.push(value{kind: storage, depth: 1, n: n})
}

// checkTensor refuses a tensor that shows what is outside of its storage.
func checkTensor(v value) error {
	a := v.elements()
	if v.kind != tuple || len(a) < 6 || len(a) > 7 || a[0].kind != storage || a[1].kind != integer || a[2].kind != tuple || a[3].kind != tuple ||
		len(a) == 7 && a[6].kind != dict {
		return failure("it has a tensor that is not described as torch does")
	}
	size, stride := a[2].elements(), a[3].elements()
	if len(size) != len(stride) {
		return failure("it has a tensor with more sizes than strides, or less")
	}
	last, shown := a[1].n, int64(1) // the last element that is shown; how many
	if last < 0 {
		return failure("it has a tensor that begins before its storage")
	}
	for i := range size {
		n, by := size[i].n, stride[i].n
		switch {
		case size[i].kind != integer || stride[i].kind != integer || n < 0:
			return failure("it has a tensor whose sizes are not numbers of elements")
		case by < 0:
			return failure("it has a tensor with negative strides")
		case n == 0:
			shown = 0
		case n > 1 && by > (math.MaxInt64-last)/(n-1), shown > math.MaxInt64/8/n:
			return failure("it has a tensor that is too large to be counted")
		default:
			last += (n - 1) * by
			shown *= n
		}
	}
	if shown > 0 && last >= a[0].n {
		return failed("it has a tensor that shows element %d of a storage of %d", last, a[0].n)
	}
	return nil
}
