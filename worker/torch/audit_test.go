package torch_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tandem.dev/storage/torchscript"
	"tandem.dev/worker/torch"
)

var update = flag.Bool("update", false, "add the operators of this libtorch that nobody has looked at, as refused")

// source is the file of a module with methods beside forward.
func source(t *testing.T, methods string, children ...torch.ChildDef) []byte {
	t.Helper()
	def := affine
	def.Children = children
	if !strings.Contains(methods, "def forward") {
		methods += "\ndef forward(self, x: Tensor) -> Tensor:\n    return x * self.weight\n"
	}
	def.Forward = methods
	m := compile(t, def)
	file, err := m.Save()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// TestHostileCodeIsRefusedBeforeItRuns: wherever it stands in the file, and although loading would run it.
func TestHostileCodeIsRefusedBeforeItRuns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "written")
	write := "torch.save(torch.zeros([1]), \"" + path + "\")"
	for name, tc := range map[string]struct {
		file []byte
		says []string
	}{
		"forward":  {source(t, "def forward(self, x: Tensor) -> Tensor:\n    "+write+"\n    return x\n"), []string{"aten::save", "__torch__"}},
		"a method": {source(t, "def other(self) -> int:\n    "+write+"\n    return 1\n"), []string{"aten::save"}},
		"a branch": {source(t, "def other(self, x: Tensor) -> Tensor:\n    for i in range(3):\n        if bool(x.sum() > 0):\n            x = torch.from_file(\"/etc/passwd\", False, 10)\n    return x\n"), []string{"aten::from_file"}},
		"loading": {source(t, "def __getstate__(self) -> int:\n    return 1\ndef __setstate__(self, state: int) -> None:\n    "+write+"\n"),
			[]string{"aten::save"}},
		"a child": {source(t, "", torch.ChildDef{Name: "child", Module: torch.ModuleDef{Class: "test.Child", Forward: "def forward(self, x: Tensor) -> Tensor:\n    " + write + "\n    return x\n"}}), []string{"aten::save"}},
	} {
		m, err := torch.LoadModule(tc.file, torch.CPU)
		if m != nil {
			m.Close()
		}
		if !errors.Is(err, torch.ErrRefused) {
			t.Errorf("%s: %v, want ErrRefused", name, err)
			continue
		}
		for _, says := range tc.says {
			if !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %v does not name %s", name, err, says)
			}
		}
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a refused file has run")
	}
}

// TestTheGraphsDecide: what the text hides from package torchscript is found all the same.
func TestTheGraphsDecide(t *testing.T) {
	file := source(t, "def other(self, x: Tensor) -> Tensor:\n    return torch.sin(x)\n")
	hidden := rewritten(t, file, func(name string, b []byte) []byte {
		if !strings.HasSuffix(name, ".py") {
			return b
		}
		return bytes.ReplaceAll(b, []byte("torch.sin(x)"), []byte(`getattr(torch, "from_file")("/etc/passwd", False, 10)`))
	})
	if bytes.Equal(file, hidden) {
		t.Fatal("nothing was hidden")
	}
	if _, err := torchscript.Inspect(bytes.NewReader(hidden), int64(len(hidden))); err != nil {
		t.Fatalf("the text alone tells it: %v", err)
	}
	m, err := torch.LoadModule(hidden, torch.CPU)
	if m != nil {
		m.Close()
	}
	if !errors.Is(err, torch.ErrRefused) || !strings.Contains(err.Error(), "aten::from_file") {
		t.Errorf("%v", err)
	}
}

// TestOrdinaryCodeIsTaken: control flow, containers, texts, numbers and printing.
func TestOrdinaryCodeIsTaken(t *testing.T) {
	file := source(t, `def forward(self, x: Tensor) -> Tensor:
    parts: List[Tensor] = []
    names: Dict[str, int] = {"rows": x.size(0)}
    for i in range(names["rows"]):
        if i % 2 == 0 and x.dim() > 1:
            parts.append(x[i].unsqueeze(0))
        else:
            parts.append(torch.relu(x[i:i + 1]))
    print("torch.save is only a text here", len(parts), "rows {}".format(names["rows"]))
    y = torch.cat(parts, 0)
    y = y.masked_fill(torch.isnan(y), 0.0)
    y[:, 0] = y[:, 0] + 1.0
    assert y.size(1) == 3, "three columns"
    a, b = torch.max(y, 1)
    z: Optional[Tensor] = None
    if self.training:
        z = torch.dropout(y, 0.1, True)
    if z is not None:
        y = z
    y = torch.layer_norm(y, [3]) + torch.softmax(y, 1) + torch.einsum("ij,kj->ij", [y, y])
    while float(y.abs().max()) > 1e6:
        y = y / 2
    return torch.nan_to_num(y) * self.weight + a.unsqueeze(1).item() * 0 if y.numel() == 1 else y * self.weight
`)
	m, err := torch.LoadModule(file, torch.CPU)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, err := m.Forward(torch.Float32Tensor([]float32{1, 2, 3, 4, 5, 6}, 2, 3)); err != nil {
		t.Error(err)
	}
}

// TestTensorsAreNoLargerThanTheirFile: a tensor whose strides are 0 would be copied to any size.
func TestTensorsAreNoLargerThanTheirFile(t *testing.T) {
	file := source(t, "")
	size, stride := []byte("(K\x03t"), []byte("(K\x01t") // (3,) and (1,) of a pickle
	changed := 0
	large := rewritten(t, file, func(name string, b []byte) []byte {
		if !strings.HasSuffix(name, "data.pkl") {
			return b
		}
		changed = min(bytes.Count(b, size), bytes.Count(b, stride))
		return bytes.ReplaceAll(bytes.ReplaceAll(b, size, []byte("(J\xff\xff\xff\x7ft")), stride, []byte("(K\x00t"))
	})
	if changed == 0 {
		t.Fatal("the file is written in another way now")
	}
	m, err := torch.LoadModule(large, torch.CPU)
	if m != nil {
		m.Close()
	}
	if !errors.Is(err, torch.ErrNotTorchScript) || !strings.Contains(err.Error(), "more elements than are stored") {
		t.Errorf("%v", err)
	}
}

// TestSharedTensorsAreNamed: a parameter that eight names stand for is counted for each of them, and the message says so.
func TestSharedTensorsAreNamed(t *testing.T) {
	const n = 4096
	def := torch.ModuleDef{Class: "test.Model", Forward: "def forward(self, x: Tensor) -> Tensor:\n    return x * self.w0\n"}
	text := func(s string) string { return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s }
	whole := func(n int64) string { return "\x8a\x08" + string(binary.LittleEndian.AppendUint64(nil, uint64(n))) }
	state := text("training") + "\x88"
	for i := range 8 {
		name := fmt.Sprint("w", i)
		def.Params = append(def.Params, torch.ParamDef{Name: name, Shape: []int64{n}})
		tensor := "h\x00" // the first one again
		if i == 0 {
			storage := "(" + text("storage") + "ctorch\nFloatStorage\n" + text("0") + text("cpu") + whole(n) + "tQ"
			tensor = "ctorch._utils\n_rebuild_tensor_v2\n(" + storage + whole(0) + "(" + whole(n) + "t(" + whole(1) + "t\x88ccollections\nOrderedDict\n)RtRq\x00"
		}
		state += text(name) + tensor
	}
	m := compile(t, def)
	file, err := m.Save()
	if err != nil {
		t.Fatal(err)
	}
	shared := rewritten(t, file, func(name string, b []byte) []byte {
		switch {
		case strings.HasSuffix(name, "data.pkl"):
			return []byte("\x80\x02c__torch__.test\nModel\n)\x81}(" + state + "ub.")
		case strings.Contains(name, "/data/") && !strings.HasSuffix(name, "/0"):
			return nil
		}
		return b
	})
	again, err := torch.LoadModule(shared, torch.CPU)
	if again != nil {
		again.Close()
	}
	want := "have 131072 bytes, more than four times the file: 7 of them show bytes that another one has too, such as w0 and w1; give each its own with clone()"
	if !errors.Is(err, torch.ErrNotTorchScript) || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}

// TestCodeThatDoesNotCompile: what is wrong is said with the method or the place, and nothing of the engine.
func TestCodeThatDoesNotCompile(t *testing.T) {
	file := source(t, "def other(self, x: Tensor) -> Tensor:\n    return torch.sin(x)\n")
	const at = `File "code/__torch__/test.py", line `
	for code, says := range map[string]string{
		"self.other(x)":       "method 'other' is called recursively",
		"nobody(x)":           "undefined value nobody",
		"torch.sin(1, 2, 3)":  "Arguments for call are not valid",
		"(self).nothing(x, )": "'__torch__.test.Model' object has no attribute or method 'nothing'",
		"3":                   "Return value was annotated as having type Tensor but is actually of type int",
	} {
		bad := rewritten(t, file, func(name string, b []byte) []byte {
			if !strings.HasSuffix(name, ".py") {
				return b
			}
			return bytes.ReplaceAll(b, []byte("torch.sin(x)"), []byte(code))
		})
		m, err := torch.LoadModule(bad, torch.CPU)
		if m != nil {
			m.Close()
		}
		if !errors.Is(err, torch.ErrModel) || !strings.Contains(err.Error(), "its code does not compile: ") || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), at) {
			t.Errorf("%s: %v, want %q and the place", code, err, says)
			continue
		}
		if regexp.MustCompile(`0x[0-9a-f]{4}|\.cpp:|\.h:|frame #`).MatchString(err.Error()) {
			t.Errorf("%s: it tells of the engine: %v", code, err)
		}
	}
}

// TestObjectsAreOfTheirTypes: libtorch takes the attributes of an object by their numbers, so another object in its place is read beyond its end.
func TestObjectsAreOfTheirTypes(t *testing.T) {
	forward := "def forward(self, x: Tensor) -> Tensor:\n    return x\n"
	file := source(t, "", torch.ChildDef{Name: "a", Module: torch.ModuleDef{Class: "test.Aaa", Forward: forward}}, torch.ChildDef{Name: "b", Module: torch.ModuleDef{Class: "test.Bbb", Forward: forward}})
	changed := rewritten(t, file, func(name string, b []byte) []byte {
		if !strings.HasSuffix(name, "data.pkl") {
			return b
		}
		return bytes.Replace(b, []byte("Aaa\n"), []byte("Bbb\n"), 1)
	})
	if bytes.Equal(file, changed) {
		t.Fatal("the file is written in another way now")
	}
	m, err := torch.LoadModule(changed, torch.CPU)
	if m != nil {
		m.Close()
	}
	if !errors.Is(err, torch.ErrNotTorchScript) || !strings.Contains(err.Error(), "the attribute a is not of its type") {
		t.Errorf("%v", err)
	}
}

// TestCastsThatNobodyChecks may take None away, and do no more where libtorch would count attributes or parts unchecked.
func TestCastsThatNobodyChecks(t *testing.T) {
	forward := "def forward(self, x: Tensor) -> Tensor:\n    return x\n"
	file := source(t, "def other(self, x: Tensor) -> Tensor:\n    return torch.sin(x)\n",
		torch.ChildDef{Name: "a", Module: torch.ModuleDef{Class: "test.Aaa", Forward: forward}})
	for name, tc := range map[string]struct {
		cast string
		want error
	}{
		"a tensor":            {"unchecked_cast(Tensor, x)", nil},
		"an optional tensor":  {"unchecked_cast(Tensor, annotate(Optional[Tensor], x))", nil},
		"an optional tuple":   {"(unchecked_cast(Tuple[Tensor, int], annotate(Optional[Tuple[Tensor, int]], (x, 1))))[0]", nil},
		"anything to tensors": {"torch.cat(unchecked_cast(List[Tensor], annotate(Any, x)), 0)", nil},
		"anything to a tuple": {"(unchecked_cast(Tuple[Tensor, Tensor, Tensor], annotate(Any, (x, x))))[2]", torch.ErrRefused},
		"a longer tuple":      {"(unchecked_cast(Tuple[Tensor, Tensor, Tensor], (x, x)))[2]", torch.ErrRefused},
		"within an optional":  {"(unchecked_cast(Tuple[Tensor, Tensor], annotate(Optional[Tuple[Tensor, int]], (x, 1))))[1]", torch.ErrRefused},
		"a list of tuples":    {"((unchecked_cast(List[Tuple[Tensor, Tensor]], annotate(Any, x)))[0])[1]", torch.ErrRefused},
		"a class":             {"(unchecked_cast(__torch__.test.Aaa, annotate(Any, x))).forward(x)", torch.ErrRefused},
	} {
		changed := rewritten(t, file, func(name string, b []byte) []byte {
			if !strings.HasSuffix(name, ".py") {
				return b
			}
			return bytes.ReplaceAll(b, []byte("torch.sin(x)"), []byte(tc.cast))
		})
		if bytes.Equal(file, changed) {
			t.Fatal("the file is written in another way now")
		}
		m, err := torch.LoadModule(changed, torch.CPU)
		if m != nil {
			m.Close()
		}
		if !errors.Is(err, tc.want) || err != nil && !strings.Contains(err.Error(), "prim::unchecked_cast from") {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
}

// TestTensorsLieInTheirBytes: whatever a pickle says of them.
func TestTensorsLieInTheirBytes(t *testing.T) {
	file := source(t, "")
	for from, to := range map[string]string{"K\x03tQ": "K\x04tQ", "(K\x01t": "(J\xff\xff\xff\xfft"} { // of the storage, and strides
		changed := rewritten(t, file, func(name string, b []byte) []byte {
			if !strings.HasSuffix(name, "data.pkl") {
				return b
			}
			return bytes.ReplaceAll(b, []byte(from), []byte(to))
		})
		m, err := torch.LoadModule(changed, torch.CPU)
		if m != nil {
			m.Close()
		}
		if !errors.Is(err, torch.ErrRefused) {
			t.Errorf("%q for %q: %v", to, from, err)
		}
	}
}

// rewritten is an archive with other entries.
func rewritten(t *testing.T, file []byte, change func(name string, b []byte) []byte) []byte {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range r.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		to, err := w.CreateHeader(&zip.FileHeader{Name: f.Name, Method: zip.Store})
		if err == nil {
			_, err = to.Write(change(f.Name, b))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestOperatorsAreReviewed counts the operators that this libtorch has and the list has not: they are refused until somebody looks.
func TestOperatorsAreReviewed(t *testing.T) {
	all, err := torch.RegisteredOperators()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(all, "aten::from_file") || len(all) < 1000 {
		t.Fatalf("%d operators", len(all))
	}
	added := map[string][]string{}
	allowed := 0
	for _, operator := range all {
		space, name, _ := strings.Cut(operator, "::")
		switch verdict := torchscript.VerdictOf(operator); {
		case space != "aten" && space != "prim":
			if verdict != torchscript.Unknown {
				t.Errorf("%s of another namespace is on the list", operator)
			}
		case verdict == torchscript.Unknown:
			added[space] = append(added[space], name)
		case verdict == torchscript.Allowed:
			allowed++
		}
	}
	if allowed < 900 {
		t.Errorf("%d operators of this libtorch may be used", allowed)
	}
	if len(added) == 0 {
		return
	}
	t.Logf("refused until somebody has looked at them: %v", added)
	if *update {
		f, err := os.OpenFile(filepath.Join("..", "..", "storage", "torchscript", "operators.txt"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		text := "\n[refused: nobody has looked at them]\n"
		for space, names := range added {
			text += space + ": " + strings.Join(names, " ") + "\n"
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
}
