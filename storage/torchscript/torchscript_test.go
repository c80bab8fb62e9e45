package torchscript

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

const plainCode = `class M(Module):
  __parameters__ = ["weight", ]
  weight : Tensor
  conv : __torch__.torch.nn.modules.conv.Conv2d
  def forward(self: __torch__.M, x: Tensor) -> Tensor:
    # torch.save(x, "comments mean nothing")
    _0 = "torch.from_file is only a text: ops.evil.run('x')"
    n = ops.prim.NumToTensor(torch.size(x, 0))
    return torch.add(torch.linear(x, self.weight), n)
`

// entry is one of an archive.
type entry struct {
	name   string
	data   string
	method uint16
}

func model(code string, more ...entry) []entry {
	return modelOf(pickleOf(objectOf(tensorOf(storageOf("0", 1024), 0, intsOf(1024), intsOf(1)))), noConstants, code, more...)
}

func modelOf(data, constants, code string, more ...entry) []entry {
	return append([]entry{
		{name: "m/data.pkl", data: data}, {name: "m/constants.pkl", data: constants}, {name: "m/version", data: "3\n"},
		{name: "m/data/0", data: strings.Repeat("x", 4096)}, {name: "m/code/__torch__.py", data: code, method: zip.Deflate},
		{name: "m/.data/serialization_id", data: "1"},
	}, more...)
}

func archived(t *testing.T, entries []entry) []byte { return archivedBehind(t, nil, entries) }

// archivedBehind puts an archive behind other bytes, and counts from where these begin.
func archivedBehind(t *testing.T, before []byte, entries []entry) []byte {
	t.Helper()
	out := *bytes.NewBuffer(slices.Clone(before))
	z := zip.NewWriter(&out)
	z.SetOffset(int64(len(before)))
	for _, e := range entries {
		w, err := z.CreateHeader(&zip.FileHeader{Name: e.name, Method: e.method})
		if err == nil {
			_, err = w.Write([]byte(e.data))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func calls(operator string) string {
	return "class M(Module):\n  def forward(self: __torch__.M, x: Tensor) -> Tensor:\n    return " + operator + "(x)\n"
}

func nested(depth int) string {
	return calls(strings.Repeat("torch.neg(", depth) + "x" + strings.Repeat(")", depth) + " + torch.neg")
}

func TestInspect(t *testing.T) {
	for name, tc := range map[string]struct {
		entries []entry
		want    error
		says    string
	}{
		"a model":                 {model(plainCode), nil, ""},
		"from_file":               {model(calls("torch.from_file")), ErrRefused, "aten::from_file"},
		"save":                    {model(calls("torch.save")), ErrRefused, "aten::save"},
		"spaces":                  {model(calls("torch . save")), ErrRefused, "aten::save"},
		"backward":                {model(calls("torch.autograd.backward")), ErrRefused, "aten::backward"},
		"grad":                    {model(calls("torch.autograd.grad")), nil, ""},
		"a library":               {model(calls("ops.evil.run")), ErrRefused, "evil::run"},
		"an operator of tomorrow": {model(calls("torch.read_mind")), ErrRefused, "aten::read_mind"},
		"python":                  {model(calls("ops.prim.PythonOp")), ErrRefused, "prim::PythonOp"},
		"a class of a library":    {model("class M(Module):\n  __annotations__[\"x\"] = __torch__.torch.classes.dist_rpc.WorkerInfo\n"), ErrRefused, "dist_rpc.WorkerInfo"},
		"brackets":                {model(nested(maxNesting + 1)), ErrRefused, "code/__torch__.py, line 3: more than 200 brackets are open"},
		"deep, but not too deep":  {model(nested(maxNesting - 2)), nil, ""},
		"another file":            {model(plainCode, entry{name: "m/code/__torch__/deep/er.py", data: calls("torch.save")}), ErrRefused, "er.py"},
		"outside":                 {model(plainCode, entry{name: "m/../../etc/passwd"}), ErrRefused, "one folder"},
		"absolute":                {model(plainCode, entry{name: "/etc/passwd"}), ErrRefused, "one folder"},
		"two folders":             {model(plainCode, entry{name: "n/data.pkl"}), ErrRefused, "one folder"},
		"twice":                   {model(plainCode, entry{name: "m/data.pkl"}), ErrRefused, "two entries"},
		"bomb of tensors":         {model(plainCode, entry{name: "m/data/1", data: strings.Repeat("\x00", 1<<20), method: zip.Deflate}), ErrRefused, "compressed"},
		"bomb of code":            {model(plainCode, entry{name: "m/code/__torch__/b.py", data: strings.Repeat(" ", maxCode), method: zip.Deflate}), ErrRefused, "4 MiB of code"},
		"bomb of debug data":      {model(plainCode, entry{name: "m/code/__torch__.py.debug_pkl", data: strings.Repeat(" ", maxPickles+1), method: zip.Deflate}), ErrRefused, "8 MiB"},
		"a long word":             {model(plainCode + "  " + strings.Repeat("a", maxName+1) + " : int\n"), ErrRefused, "line 10: a word has more than 1000 characters"},
		"a word that is not long": {model(plainCode + "  " + strings.Repeat("a", maxName) + " : int\n"), nil, ""},
		"classes":                 {model(strings.Repeat("class M(Module):\n  pass\n", maxClasses+1)), ErrRefused, "more than 10000 classes"},
		"a long name of a class":  {modelOf(pickleOf(globalOf("__torch__"+strings.Repeat(".a", maxName/2), "M")+")\x81}b"), noConstants, plainCode), ErrRefused, "the name of a class in it has more than 1000 characters"},
		"torch.save":              {model(plainCode)[:4], ErrFormat, "torch.save"},
		"an empty archive":        {nil, ErrFormat, "no data.pkl"},
		"an old format":           {model(plainCode, entry{name: "m/model.json", data: "{}"}), ErrFormat, "before PyTorch 1.4"},
	} {
		b := archived(t, tc.entries)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Inspect(bytes.NewReader(b), int64(len(b)))
		runtime.ReadMemStats(&after)
		if !errors.Is(err, tc.want) || err != nil && !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %v with %q", name, err, tc.want, tc.says)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 4<<20 {
			t.Errorf("%s: %d bytes allocated for a file of %d", name, took, len(b))
		}
	}
}

func TestWhatIsNoArchive(t *testing.T) {
	for _, b := range [][]byte{nil, []byte("no model"), bytes.Repeat([]byte{0x80, 2}, 1000), archived(t, model(plainCode))[:500]} {
		if _, err := Inspect(bytes.NewReader(b), int64(len(b))); !errors.Is(err, ErrFormat) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.20q: %v", b, err)
		}
	}
}

// TestRealFile: a file that PyTorch wrote.
func TestRealFile(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "worker", "model", "testdata", "parity-own.pt"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Inspect(bytes.NewReader(b), int64(len(b))); err != nil {
		t.Error(err)
	}
}

// brokenReader fails as a store does.
type brokenReader struct{ *bytes.Reader }

var errBroken = errors.New("the store is away")

func (brokenReader) ReadAt([]byte, int64) (int, error) { return 0, errBroken }

// TestReadersErrorIsPassedOn: a store that does not answer is no fault of the file.
func TestReadersErrorIsPassedOn(t *testing.T) {
	if _, err := Inspect(brokenReader{}, 1000); !errors.Is(err, errBroken) || errors.Is(err, ErrFormat) {
		t.Error(err)
	}
}

func TestOperators(t *testing.T) {
	for operator, want := range map[string]Verdict{
		"aten::linear": Allowed, "aten::_convolution": Allowed, "aten::lstm": Allowed, "aten::scaled_dot_product_attention": Allowed, "aten::batch_norm": Allowed,
		"prim::CallMethod": Allowed, "prim::Print": Allowed, "aten::__getitem__": Allowed, "aten::index_put_": Allowed, "aten::dropout": Allowed,
		"aten::from_file": Refused, "aten::save": Refused, "prim::PythonOp": Refused, "prim::fork": Refused, "aten::set_": Refused, "prim::id": Refused,
		"aten::load": Unknown, "c10d::send": Unknown, "quantized::linear": Unknown, "aten::": Unknown, "": Unknown,
	} {
		if got := VerdictOf(operator); got != want {
			t.Errorf("%s: %v, want %v", operator, got, want)
		}
	}
	if n := len(Operators()); n < 1000 {
		t.Errorf("%d operators", n)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(operatorsText) {
		space, names, ok := strings.Cut(line, ":")
		if !ok || strings.HasPrefix(line, "[") || strings.HasPrefix(line, "#") {
			continue
		}
		for name := range strings.FieldsSeq(names) {
			if key := fmt.Sprintf("%s::%s", space, name); seen[key] {
				t.Errorf("%s is on the list twice", key)
			} else {
				seen[key] = true
			}
		}
	}
}

func FuzzInspect(f *testing.F) {
	f.Add([]byte("PK\x05\x06"))
	var t testing.T
	f.Add(archived(&t, model(plainCode)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := Inspect(bytes.NewReader(b), int64(len(b))); err != nil && !errors.Is(err, ErrFormat) && !errors.Is(err, ErrRefused) {
			t.Error(err)
		}
	})
}
