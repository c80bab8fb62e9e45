package torchscript

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// Bounds of a pickle. libtorch builds its values without recursion, and frees, compares and copies them with it.
const (
	maxDepth  = 1000    // containers in each other
	maxValues = 1 << 19 // that wait to be put into one container, and that are kept to be used again
	maxKept   = 1 << 20 // elements of tuples that are looked into
	// maxArguments of a tuple that is looked into: the sizes of a tensor are the most.
	maxArguments = 64
)

// The operations that libtorch writes.
const (
	opMark       = '('
	opStop       = '.'
	opFloat      = 'G'
	opInt4       = 'J'
	opInt1       = 'K'
	opInt2       = 'M'
	opNone       = 'N'
	opStorage    = 'Q'
	opCall       = 'R'
	opText       = 'X'
	opEmptyList  = ']'
	opAppends    = 'e'
	opBuild      = 'b'
	opGlobal     = 'c'
	opGet        = 'h'
	opLongGet    = 'j'
	opPut        = 'q'
	opLongPut    = 'r'
	opTuple      = 't'
	opSetItems   = 'u'
	opEmptyDict  = '}'
	opEmptyTuple = ')'
	opProto      = 0x80
	opNew        = 0x81
	opTuple1     = 0x85
	opTuple3     = 0x87
	opTrue       = 0x88
	opFalse      = 0x89
	opInt8       = 0x8a
)

// kind of a value, as far as it decides what may be done with it.
type kind uint8

const (
	other kind = iota
	integer
	text
	tuple
	longTuple // of more than maxArguments, which are not kept
	list
	dict
	openList // empty, and not in use anywhere: it may be filled
	openDict
	global
	made // a class whose object is not filled yet
	storage
	tensor
	object
)

// value is one on the machine's stack, of which a hostile file may have very many.
type value struct {
	kind  kind
	what  callee // a global's
	depth int32
	n     int64    // an integer; of a storage, its elements; of a global, the bytes of an element
	of    *[]value // a tuple's; a pointer, for very many values are none
}

// elements are those of a tuple.
func (v value) elements() []value {
	if v.of == nil {
		return nil
	}
	return *v.of
}

// machine reads a pickle as the Unpickler of libtorch does, and makes nothing. It takes what the Pickler of torch.jit.save writes and
// nothing else, so that a container is filled before it is used anywhere: nothing contains itself, and depths are known at once.
type machine struct {
	all, at []byte // the pickle, and what is left of it
	stack   []value
	marks   []int
	memo    []value
	records func(key string) (bytes int64, ok bool) // of tensors; nil: there are none
	classes bool                                    // objects of the file's classes may be in it
	used    map[string]bool                         // keys of storages
	most    int                                     // room for values
	kept    int                                     // elements of tuples, so far
	typed   int                                     // characters of types, so far
}

// failure of a pickle. It says what is wrong with it.
type failure string

func (f failure) Error() string { return string(f) }

func failed(format string, a ...any) error { return failure(fmt.Sprintf(format, a...)) }

var errTorn = failure("it does not end, or takes what does not exist")

// run reads all of a pickle. Its errors are for people, and do not name the pickle.
func (m *machine) run() (root value, err error) {
	m.at = m.all
	head := m.take(2)
	if head == nil || head[0] != opProto || head[1] != 2 {
		return root, failure("it is not a pickle of protocol 2")
	}
	for {
		b := m.take(1)
		if b == nil {
			return root, errTorn
		}
		if b[0] == opStop {
			break
		}
		if err := m.step(b[0]); err != nil {
			return root, err
		}
		if len(m.stack) > m.most || len(m.memo) > m.most || len(m.marks) > maxDepth {
			return root, failed("it has more than %d values at once", m.most)
		}
	}
	if len(m.stack) != 1 || len(m.marks) != 0 || len(m.at) != 0 {
		return root, failure("it has something beside its one value")
	}
	return m.stack[0], nil
}

// take returns the next n bytes; nil if there are less.
func (m *machine) take(n int) []byte {
	if n < 0 || n > len(m.at) {
		return nil
	}
	b := m.at[:n:n]
	m.at = m.at[n:]
	return b
}

func (m *machine) step(op byte) error {
	switch op {
	case opMark:
		m.marks = append(m.marks, len(m.stack))
		return nil
	case opNone, opTrue, opFalse:
		return m.push(value{})
	case opEmptyTuple:
		return m.push(value{kind: tuple, depth: 1})
	case opEmptyList:
		return m.push(value{kind: openList, depth: 1})
	case opEmptyDict:
		return m.push(value{kind: openDict, depth: 1})
	case opInt1, opInt2, opInt4, opInt8, opFloat, opText:
		return m.literal(op)
	case opTuple, opTuple1, opTuple1 + 1, opTuple3:
		return m.tuple(op)
	case opAppends, opSetItems:
		return m.fill(op)
	case opPut, opLongPut, opGet, opLongGet:
		return m.remember(op)
	case opGlobal:
		return m.global()
	case opNew:
		return m.object()
	case opBuild, opCall:
		return m.call(op)
	case opStorage:
		return m.storage()
	}
	return failed("it has the operation %#02x, which torch.jit.save does not write", op)
}

func (m *machine) push(v value) error {
	if v.depth > maxDepth {
		return failed("its values are nested more than %d levels deep", maxDepth)
	}
	m.stack = append(m.stack, v)
	return nil
}

// literals are the bytes that follow the operation; of a text, those of its length.
var literals = [256]int{opInt1: 1, opInt2: 2, opInt4: 4, opInt8: 9, opFloat: 8, opText: 4}

// literal takes a number or a text.
func (m *machine) literal(op byte) error {
	b := m.take(literals[op])
	if b == nil {
		return errTorn
	}
	v := value{kind: integer}
	switch op {
	case opInt1:
		v.n = int64(b[0])
	case opInt2:
		v.n = int64(binary.LittleEndian.Uint16(b))
	case opInt4:
		v.n = int64(int32(binary.LittleEndian.Uint32(b))) //nolint:gosec // as it was written
	case opInt8:
		if b[0] != 8 {
			return failure("it has an integer of another size than 8 bytes")
		}
		v.n = int64(binary.LittleEndian.Uint64(b[1:])) //nolint:gosec // as it was written
	case opFloat:
		v.kind = other
	case opText:
		v.kind, v.n = text, int64(len(m.all)-len(m.at)-4)
		if m.take(int(binary.LittleEndian.Uint32(b))) == nil {
			return errTorn
		}
	}
	return m.push(v)
}

// text of a value that is one.
func (m *machine) text(v value) string {
	from := m.all[v.n:]
	return string(from[4 : 4+binary.LittleEndian.Uint32(from)])
}

// above takes the values above the last mark.
func (m *machine) above() (of []value, err error) {
	if len(m.marks) == 0 || m.marks[len(m.marks)-1] > len(m.stack) {
		return nil, errTorn
	}
	from := m.marks[len(m.marks)-1]
	m.marks = m.marks[:len(m.marks)-1]
	of = m.stack[from:]
	m.stack = m.stack[:from]
	return of, nil
}

// top takes the uppermost n values, none of which is below a mark.
func (m *machine) top(n int) (of []value, err error) {
	floor := 0
	if len(m.marks) > 0 {
		floor = m.marks[len(m.marks)-1]
	}
	if len(m.stack)-n < floor {
		return nil, errTorn
	}
	of = m.stack[len(m.stack)-n:]
	m.stack = m.stack[:len(m.stack)-n]
	return of, nil
}

// deeper is the depth of what contains these.
func deeper(of []value) (depth int32) {
	for _, v := range of {
		depth = max(depth, v.depth)
	}
	return depth + 1
}

func (m *machine) tuple(op byte) (err error) {
	var of []value
	if op == opTuple {
		of, err = m.above()
	} else {
		of, err = m.top(int(op) - opTuple1 + 1)
	}
	if err != nil {
		return err
	}
	v := value{kind: tuple, depth: deeper(of)}
	if len(of) > maxArguments {
		v.kind = longTuple
		return m.push(v)
	}
	if m.kept += len(of); m.kept > maxKept {
		return failed("it has more than %d values in tuples", maxKept)
	}
	kept := slices.Clone(of)
	v.of = &kept
	return m.push(v)
}

// fill puts the values above the last mark into the list or dict below it.
func (m *machine) fill(op byte) error {
	of, err := m.above()
	if err != nil {
		return err
	}
	into, err := m.top(1)
	if err != nil {
		return err
	}
	for _, v := range of {
		if v.kind == global || v.kind == made || v.kind == storage || v.kind == openList || v.kind == openDict {
			return failure("it keeps what is not a value in a container")
		}
	}
	v := value{depth: deeper(of)}
	switch {
	case op == opAppends && into[0].kind == openList:
		v.kind = list
	case op == opSetItems && into[0].kind == openDict && len(of)%2 == 0:
		v.kind = dict
	default:
		return failure("it fills what is not an empty list or dict of its own")
	}
	return m.push(v)
}

// remember keeps the uppermost value under the next number, or takes one again.
func (m *machine) remember(op byte) error {
	size := 1
	if op == opLongPut || op == opLongGet {
		size = 4
	}
	b := m.take(size)
	if b == nil {
		return errTorn
	}
	number := int64(b[0])
	if size == 4 {
		number = int64(binary.LittleEndian.Uint32(b))
	}
	if op == opGet || op == opLongGet {
		if number >= int64(len(m.memo)) {
			return errTorn
		}
		return m.push(m.memo[number])
	}
	of, err := m.top(1)
	if err != nil {
		return err
	}
	switch k := of[0].kind; {
	case number != int64(len(m.memo)):
		return failure("it numbers its values in another order than they are in")
	case k == openList || k == openDict || k == made:
		return failure("it uses a list, a dict or an object before that is filled")
	}
	m.memo = append(m.memo, of[0])
	return m.push(of[0])
}

// line takes the bytes up to the next line end.
func (m *machine) line() []byte {
	end := bytes.IndexByte(m.at, '\n')
	if end < 0 {
		return nil
	}
	b := m.take(end + 1)
	return b[:end:end]
}
