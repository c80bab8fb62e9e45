package torchscript

import (
	"archive/zip"
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// TestTheWorstFilesAreCheap: whatever a small file holds, a look at it allocates no more than this in all.
func TestTheWorstFilesAreCheap(t *testing.T) {
	const most = 100 << 20
	begin := "class M(Module):\n  def forward(self: __torch__.M, x: Tensor) -> Tensor:\n"
	long := strings.Repeat(".a", maxPickles/4)
	tag := "h\x00](Neh\x01\x86R"
	tuples := strings.Repeat("("+strings.Repeat("h\x00", maxArguments)+"t", maxKept/maxArguments)
	for name, entries := range map[string][]entry{
		"operators":        model(begin + strings.Repeat("torch.t\n", (maxCode-200)/8)),
		"literals":         model(begin + strings.Repeat("\"\"\n", (maxCode-200)/3)),
		"comments":         model(begin + strings.Repeat("#\n", (maxCode-200)/2)),
		"values at once":   modelOf(pickleOf(objectOf("]("+strings.Repeat("N", maxValues-10)+"e")), noConstants, plainCode),
		"tuples":           modelOf(pickleOf(objectOf("(Nq\x00"+tuples+"t")), noConstants, plainCode),
		"names of classes": modelOf(pickleOf(globalOf("__torch__"+long, "M")+")\x81}b"), noConstants, plainCode),
		"names in code":    model(begin + "    " + strings.Repeat("a.", (maxCode-200)/2) + "\n"),
		"a word":           model(begin + "    " + strings.Repeat("a", maxCode-200) + "\n"),
		"classes":          model(strings.Repeat("class A(B):\n  a\n", (maxCode-200)/16)),
		"files":            model(plainCode, codeFiles(5_000)...),
		"one text for types": modelOf(pickleOf(objectOf("]("+globalOf("torch.jit._pickle", "restore_type_tag")+"q\x00"+textOf(strings.Repeat("a.", maxTypeText/2))+"q\x01"+
			strings.Repeat(tag, 40_000)+"e")), noConstants, plainCode),
		"origins": model(plainCode, entry{name: "m/code/__torch__.py.debug_pkl", method: zip.Deflate,
			data: pickleOf("(Nq\x00" + tuples + "t")}),
	} {
		b := archived(t, entries)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Inspect(bytes.NewReader(b), int64(len(b)))
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > most {
			t.Errorf("%s: %d MiB allocated for a file of %d KiB", name, took>>20, len(b)>>10)
		} else {
			t.Logf("%s: %d MiB for %d KiB: %v", name, took>>20, len(b)>>10, err)
		}
	}
}

// codeFiles are so many files of code with long names.
func codeFiles(n int) (files []entry) {
	for i := range n {
		files = append(files, entry{name: fmt.Sprint("m/code/__torch__/", strings.Repeat("a/", 100), "f", i, ".py")})
	}
	return files
}
