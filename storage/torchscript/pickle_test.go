package torchscript

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

// The pieces of a pickle, as torch.jit.save writes them.

func textOf(s string) string {
	return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s //nolint:gosec // a test's
}

func intOf(n int64) string {
	return "\x8a\x08" + string(binary.LittleEndian.AppendUint64(nil, uint64(n))) //nolint:gosec // as it is written
}

func tupleOf(of ...string) string { return "(" + strings.Join(of, "") + "t" }

func globalOf(module, name string) string { return "c" + module + "\n" + name + "\n" }

func intsOf(n ...int64) string {
	var all []string
	for _, n := range n {
		all = append(all, intOf(n))
	}
	return tupleOf(all...)
}

func storageOf(key string, n int64) string {
	return tupleOf(textOf("storage"), globalOf("torch", "FloatStorage"), textOf(key), textOf("cpu"), intOf(n)) + "Q"
}

func tensorOf(storage string, offset int64, size, stride string) string {
	return globalOf("torch._utils", "_rebuild_tensor_v2") +
		tupleOf(storage, intOf(offset), size, stride, "\x88", globalOf("collections", "OrderedDict")+")R") + "R"
}

// objectOf is one of the class M, with an attribute.
func objectOf(attribute string) string {
	return globalOf("__torch__", "M") + ")\x81}(" + textOf("a") + attribute + "ub"
}

// typed is a list whose type is in a text.
func typed(t string) string {
	return globalOf("torch.jit._pickle", "restore_type_tag") + "](Ne" + textOf(t) + "\x86R"
}

func nestedType(depth int) string {
	return strings.Repeat("List[", depth) + "int" + strings.Repeat("]", depth)
}

func pickleOf(value string) string { return "\x80\x02" + value + "." }

const noConstants = "\x80\x02)."

// TestPickles: what a file says of its objects and tensors is held against what is in the file, before libtorch believes it.
func TestPickles(t *testing.T) {
	again := strings.Repeat
	for name, tc := range map[string]struct {
		data, constants string
		says            string // empty: it passes
	}{
		"a tensor":            {data: objectOf(tensorOf(storageOf("0", 1024), 0, intsOf(32, 32), intsOf(32, 1)))},
		"a scalar":            {data: objectOf(tensorOf(storageOf("0", 1024), 1023, intsOf(), intsOf()))},
		"no elements":         {data: objectOf(tensorOf(storageOf("9", 0), 0, intsOf(0, 7), intsOf(7, 1)))},
		"strides of 0":        {data: objectOf(tensorOf(storageOf("0", 1024), 0, intsOf(5, 1024), intsOf(0, 1)))},
		"a constant":          {data: objectOf("N"), constants: tupleOf(tensorOf(storageOf("0", 2), 0, intsOf(2), intsOf(1)))},
		"used twice":          {data: objectOf(tupleOf(storageOf("0", 4)+"q\x00", "h\x00"))},
		"lists":               {data: objectOf(globalOf("torch.jit._pickle", "build_intlist") + tupleOf("]("+intOf(1)+"e") + "R")},
		"a typed dict":        {data: objectOf(globalOf("torch.jit._pickle", "restore_type_tag") + "}(" + textOf("k") + "Nu" + textOf("Dict[str, None]") + "\x86R")},
		"a type within types": {data: objectOf(typed(nestedType(maxNesting)))},
		"an enumeration":      {data: objectOf(globalOf("__torch__", "E") + intOf(1) + "R")},
		"a device, a complex": {data: objectOf(tupleOf(globalOf("torch", "device")+textOf("cpu")+"\x85R", globalOf("builtins", "complex")+"G12345678G12345678\x86R"))},
		"deep enough":         {data: objectOf(")" + again("\x85", maxDepth-3))},

		"a storage too large":         {data: objectOf(tensorOf(storageOf("0", 1025), 0, intsOf(1), intsOf(1))), says: "storage for 1025 elements of 4 bytes, while the file has 4096"},
		"in a list":                   {data: objectOf("](" + tensorOf(storageOf("0", 1025), 0, intsOf(1), intsOf(1)) + "e"), says: "while the file has 4096"},
		"a constant's storage":        {data: objectOf("N"), constants: tupleOf(tensorOf(storageOf("0", 3), 0, intsOf(1), intsOf(1))), says: "constants.pkl: it has a tensor with storage for 3 elements of 4 bytes, while the file has 8"},
		"dropped again":               {data: objectOf("(" + storageOf("0", 1<<40) + "t"), says: "while the file has 4096"},
		"a storage of -1":             {data: objectOf(storageOf("0", -1)), says: "storage for -1 elements"},
		"no such record":              {data: objectOf(storageOf("9", 1)), says: "are not in the file"},
		"outside":                     {data: objectOf(storageOf("../data.pkl", 1)), says: "are not in the file"},
		"a storage twice":             {data: objectOf(tupleOf(storageOf("0", 4), storageOf("0", 4))), says: "two storages"},
		"negative strides":            {data: objectOf(tensorOf(storageOf("0", 1024), 1000, intsOf(10), intsOf(-1))), says: "negative strides"},
		"beyond its storage":          {data: objectOf(tensorOf(storageOf("0", 1024), 1020, intsOf(5), intsOf(1))), says: "shows element 1024 of a storage of 1024"},
		"by its strides":              {data: objectOf(tensorOf(storageOf("0", 1024), 0, intsOf(2, 2), intsOf(1023, 1))), says: "shows element 1024"},
		"before its storage":          {data: objectOf(tensorOf(storageOf("0", 1024), -1, intsOf(1), intsOf(1))), says: "begins before"},
		"around the end of integers":  {data: objectOf(tensorOf(storageOf("0", 1024), 0, intsOf(1<<32, 1<<32), intsOf(1<<32, 1<<32))), says: "too large"},
		"very many elements":          {data: objectOf(tensorOf(storageOf("0", 1024), 0, intsOf(1<<32, 1<<32), intsOf(0, 0))), says: "too large"},
		"more sizes than strides":     {data: objectOf(tensorOf(storageOf("0", 1024), 0, intsOf(1, 1), intsOf(1))), says: "more sizes than strides"},
		"65 sizes":                    {data: objectOf(tensorOf(storageOf("0", 1024), 0, "("+again("K\x02", 65)+"t", "("+again("K\x02", 65)+"t")), says: "not described as torch does"},
		"a tensor of no storage":      {data: objectOf(tensorOf("N", 0, intsOf(1), intsOf(1))), says: "not described as torch does"},
		"a class of a library":        {data: objectOf(globalOf("__torch__.torch.classes.quantized", "Conv2dPackedParamsBase") + ")\x81Nb"), says: "__torch__.torch.classes.quantized.Conv2dPackedParamsBase"},
		"by another place of its dot": {data: objectOf(globalOf("__torch__", "torch.classes.dist_c10d.TCPStore") + ")\x81Nb"), says: "a class of a C++ library"},
		"os.system":                   {data: objectOf(globalOf("os", "system") + tupleOf(textOf("id")) + "R"), says: `it names "os.system"`},
		"eval":                        {data: objectOf(globalOf("builtins", "eval") + tupleOf(textOf("1")) + "R"), says: `it names "builtins.eval"`},
		"quantized":                   {data: objectOf(globalOf("torch._utils", "_rebuild_qtensor")), says: "_rebuild_qtensor"},
		"sparse":                      {data: objectOf(globalOf("torch._utils", "_rebuild_sparse_tensor")), says: "_rebuild_sparse_tensor"},
		"remote":                      {data: objectOf(globalOf("torch.distributed.rpc", "rref")), says: "rref"},
		"an object in the constants":  {data: objectOf("N"), constants: tupleOf(objectOf("N")), says: `constants.pkl: it names "__torch__.M"`},
		"deep":                        {data: objectOf(")" + again("\x85", 1_000_000)), says: "nested more than 1000 levels"},
		"one level more":              {data: objectOf(")" + again("\x85", maxDepth-2)), says: "nested more than 1000 levels"},
		"very many values":            {data: objectOf("](" + again("N", maxValues) + "e"), says: "values at once"},
		"deep in lists":               {data: objectOf(again("](", maxDepth+1) + again("e", maxDepth+1)), says: "at once"},
		"deep through the memo":       {data: objectOf(")" + again("\x85", 500) + "q\x00" + again("\x85", 400) + "h\x00" + again("\x85", 600) + "\x86"), says: "nested more than 1000 levels"},
		"a list in itself":            {data: objectOf("]q\x00(h\x00e"), says: "before that is filled"},
		"filled twice":                {data: objectOf("](Ne(Ne"), says: "not an empty list"},
		"an odd dict":                 {data: objectOf("}(Nu"), says: "not an empty list or dict"},
		"a number of the memo":        {data: objectOf("Nr\xff\xff\xff\xff"), says: "numbers its values in another order"},
		"nothing in the memo":         {data: objectOf("h\x07"), says: "takes what does not exist"},
		"no mark":                     {data: "t", says: "takes what does not exist"},
		"below a mark":                {data: objectOf("N(\x85"), says: "takes what does not exist"},
		"a number as a function":      {data: objectOf(intOf(0) + tupleOf() + "R"), says: "calls what cannot be called"},
		"a number as an object":       {data: intOf(0) + ")\x81Nb", says: "what is not a class"},
		"a foreign operation":         {data: objectOf("]Na"), says: "the operation 0x61"},
		"a type too deep":             {data: objectOf(typed(nestedType(maxNesting + 1))), says: "its types have more than"},
		"a type too long":             {data: objectOf(typed(strings.Repeat("x", maxTypeText+1))), says: "its types have more than"},
		"very many values in tuples":  {data: objectOf("(Nq\x00" + again("("+again("h\x00", maxArguments)+"t", maxKept/maxArguments+1) + "t"), says: "values in tuples"},
		"no object":                   {data: tupleOf(), says: "of another kind"},
		"two values":                  {data: "N" + objectOf("N"), says: "beside its one value"},
		"an end too early":            {data: objectOf("N.N"), says: "beside its one value"},
		"a text that is cut off":      {data: "X\xff\xff\xff\xffa", says: "takes what does not exist"},
	} {
		constants := noConstants
		if tc.constants != "" {
			constants = pickleOf(tc.constants)
		}
		b := archived(t, modelOf(pickleOf(tc.data), constants, plainCode, entry{name: "m/constants/0", data: "12345678"}))
		p, err := Inspect(bytes.NewReader(b), int64(len(b)))
		switch {
		case tc.says == "" && (err != nil || string(p.Data) != pickleOf(tc.data) || string(p.Constants) != constants):
			t.Errorf("%s: %v, %q", name, err, p)
		case tc.says != "" && (!errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), tc.says)):
			t.Errorf("%s: %.300v, want %q", name, err, tc.says)
		}
	}
}

// TestWhereCodeCameFrom: libtorch reads that when code fails, so it is looked at like everything else.
func TestWhereCodeCameFrom(t *testing.T) {
	deep := "(" + ")" + strings.Repeat("\x85", 100_000) + "t"
	for says, pickle := range map[string]string{"nested more than": deep, "__torch__.M": tupleOf(objectOf("N")), "FloatStorage": tupleOf(storageOf("0", 1))} {
		b := archived(t, model(plainCode, entry{name: "m/code/__torch__.py.debug_pkl", data: pickleOf(pickle)}))
		if _, err := Inspect(bytes.NewReader(b), int64(len(b))); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

// TestNames: libtorch finds a record without regard to case, so a name that is only like one is another door.
func TestNames(t *testing.T) {
	for name, refused := range map[string]bool{
		"m/code/__torch__.PY": true, "m/code/__TORCH__.py": true, "m/Code/x.py": true, "m/code/__torch__/a-b.py": true, "m/code/x.txt": true, "m/code/x": true,
		"m/DATA.PKL": true, "m/data/junk": true, "m/data/00/1": true, "m/x/../y": true, "m/\xff": true,
		"m/byteorder": false, "m/.format_version": false, "m/.data/version": false, "m/extra/My notes.TXT": false, "m/code/__torch__/torch/nn/___torch_mangle_7.py": false,
	} {
		b := archived(t, model(plainCode, entry{name: name, data: plainCode}))
		_, err := Inspect(bytes.NewReader(b), int64(len(b)))
		if refused != errors.Is(err, ErrRefused) || refused && !strings.Contains(err.Error(), " entr") || !refused && err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestForm: what torch.jit.save does not write is read by each reader in its own way.
func TestForm(t *testing.T) {
	for _, code := range []string{
		" " + plainCode, "\tclass M(Module):\n", "x = 1; class M(Module):\n", "\f" + plainCode, "\r" + plainCode, "\u00a0class M(Module):\n",
		calls("torch.\\\nfrom_file"), calls("torch.\\\r\nsin"), "y = \"\"\"\n\"\"\"\n", "y = \"a\\\nb\"\n",
	} {
		if err := checkSource("code/a.py", []byte(code)); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "code/a.py, line ") {
			t.Errorf("%q: %v", code, err)
		}
	}
	for _, code := range []string{plainCode, "subclass = 1\nclass_ = 2\nself.classes = 3\n", "y = \"class \\t \\\\ ü\"\n"} {
		if err := checkSource("code/a.py", []byte(code)); err != nil {
			t.Errorf("%q: %v", code, err)
		}
	}
}

func FuzzPickle(f *testing.F) {
	f.Add([]byte(pickleOf(objectOf(tensorOf(storageOf("0", 1024), 0, intsOf(32, 32), intsOf(32, 1))))))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := machine{all: b, classes: true, used: map[string]bool{}, most: maxValues, records: func(string) (int64, bool) { return 4096, true }}
		if v, err := m.run(); err == nil && v.depth > maxDepth {
			t.Errorf("depth %d", v.depth)
		}
	})
}
