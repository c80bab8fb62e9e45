package version_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tandem.dev/storage"
	"tandem.dev/storage/dataset"
	"tandem.dev/storage/memstore"
	"tandem.dev/storage/safetensors"
	"tandem.dev/storage/version"
)

const prefix = "models/ver-1"

// linear is a model of one weight a class: output c of a row is w[c] times its first value.
type linear []float32

func (l linear) Predict(x []float32, shape []int64) ([]float32, []int64, error) {
	rows, dim := int(shape[0]), len(x)/int(shape[0])
	var out []float32
	for i := range rows {
		for _, w := range l {
			out = append(out, w*x[i*dim])
		}
	}
	return out, []int64{shape[0], int64(len(l))}, nil
}

func (l linear) tensors() []safetensors.Tensor {
	var data []byte
	for _, w := range l {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(w))
	}
	return []safetensors.Tensor{{Name: "w", DType: "F32", Shape: []int64{int64(len(l))}, Data: data}}
}

var signs = linear{-10, 10}

// example is the version that FORMAT.md shows.
func example(t *testing.T, s storage.Store) *version.Version {
	t.Helper()
	of := dataset.Manifest{
		Task: dataset.TaskClassification, Features: []string{"x", "y"}, Shape: []int64{2}, NumClasses: 2, ClassNames: []string{"minus", "plus"},
		Normalization: dataset.Normalization{Method: dataset.MethodStandard, Offset: []float32{1, 0}, Scale: []float32{4, 1}},
	}
	m := version.Manifest{
		Version: "ver-1", Model: "signs", Task: of.Task, Features: of.Features, Classes: of.NumClasses, ClassNames: of.ClassNames, Normalization: of.Normalization,
		Metrics: map[string]float64{"test_accuracy": 1, "test_loss": 0.03125, "validation_accuracy": 0.5},
		Lineage: version.Lineage{
			Job: "job-1", Trial: "trial-1", Checkpoint: "ckpt-1", Step: 700, DatasetID: "data-1", Dataset: "signs@1", SpecHash: strings.Repeat("0", 64), Seed: 3,
		},
		Libtorch: "2.6.0",
	}
	m.Input, m.Outputs = version.Signatures(of)
	probes, err := version.MakeProbes(signs, m, []float32{3, 7, -1, 7})
	if err != nil {
		t.Fatal(err)
	}
	v, err := version.Save(t.Context(), s, prefix, m, []byte("model"), signs.tensors(), probes)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestFormatIsWhatIsWritten: the example of FORMAT.md is, to the byte, what the code writes, and can be read by what the page says alone.
func TestFormatIsWhatIsWritten(t *testing.T) {
	page, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	store := memstore.New(memstore.Config{})
	v := example(t, store)
	for _, name := range []string{version.ProbesFile, version.ManifestName} {
		shown := regexp.MustCompile("(?s)`" + regexp.QuoteMeta(name) + "` of the example:\n\n```json\n(.*?)```").FindSubmatch(page)
		if shown == nil {
			t.Fatalf("FORMAT.md has no example of %s", name)
		}
		written, err := store.Bytes(prefix + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if name == version.ProbesFile {
			written = append(written, '\n') // of the page
		}
		if diff := cmp.Diff(string(shown[1]), string(written)); diff != "" {
			t.Errorf("%s: in FORMAT.md (-), as it is written (+):\n%s\nThe whole, for the page:\n%s", name, diff, written)
		}
	}
	manifest, err := store.Bytes(prefix + "/" + version.ManifestName)
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(manifest); hex.EncodeToString(sum[:]) != v.ManifestSHA256 || !strings.Contains(string(page), v.ManifestSHA256) {
		t.Errorf("FORMAT.md does not name the sha256 of the manifest, %s", v.ManifestSHA256)
	}
	strange(t, store, manifest)
}

// strange reads a version with nothing of ours, in the steps of FORMAT.md.
func strange(t *testing.T, store *memstore.Store, manifest []byte) {
	t.Helper()
	body := bytes.TrimPrefix(manifest[:len(manifest)-len(`,"sha256":""}`+"\n")-64], []byte(`{"body":`))
	var sealed struct{ SHA256 string }
	if err := json.Unmarshal(manifest, &sealed); err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != sealed.SHA256 {
		t.Errorf("the seal is not the sha256 of the bytes of body")
	}
	var m struct {
		Files []struct {
			Name, Key, SHA256 string
			Bytes             int
		}
		Normalization struct{ Offset, Scale []float32 }
		ClassNames    []string `json:"class_names"`
	}
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, f := range m.Files {
		b, err := store.Bytes(prefix + "/" + f.Key)
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != f.SHA256 || len(b) != f.Bytes {
			t.Errorf("%s is not the file that the manifest names", f.Name)
		}
		files[f.Name] = b
	}
	var probes []struct{ Input, Output []float32 }
	if err := json.Unmarshal(files["probes.json"], &probes); err != nil {
		t.Fatal(err)
	}
	for _, p := range probes {
		x := (p.Input[0] - m.Normalization.Offset[0]) / m.Normalization.Scale[0]
		if diff := cmp.Diff([]float32{signs[0] * x, signs[1] * x}, p.Output); diff != "" {
			t.Errorf("answer to %v (-wanted +probe):\n%s", p.Input, diff)
		}
	}
	weights := files["model.safetensors"]
	header := int(binary.LittleEndian.Uint64(weights))
	if got := math.Float32frombits(binary.LittleEndian.Uint32(weights[8+header+4:])); got != signs[1] {
		t.Errorf("weight 1 is %v", got)
	}
}

func TestProbesTellModelsApart(t *testing.T) {
	store := memstore.New(memstore.Config{})
	v := example(t, store)
	questions, err := v.Read(t.Context(), version.ProbesFile)
	if err != nil {
		t.Fatal(err)
	}
	probes, err := version.ParseProbes(questions, v.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	if err := version.CheckProbes(signs, v.Manifest, probes); err != nil {
		t.Errorf("the model that was published: %v", err)
	}
	for _, other := range []linear{{-10, 9}, {float32(math.NaN()), 10}} {
		if err := version.CheckProbes(other, v.Manifest, probes); !errors.Is(err, version.ErrProbe) {
			t.Errorf("model %v: %v", other, err)
		}
	}
}

// TestAnotherVersionIsNotOverwritten: another one at the same place is refused, the same one is not.
func TestAnotherVersionIsNotOverwritten(t *testing.T) {
	store := memstore.New(memstore.Config{})
	v := example(t, store)
	keys := len(store.Keys())
	if again := example(t, store); again.ManifestSHA256 != v.ManifestSHA256 || len(store.Keys()) != keys {
		t.Errorf("saved twice: %v", store.Keys())
	}
	_, err := version.Save(t.Context(), store, prefix, v.Manifest, []byte("other"), signs.tensors(), []version.Probe{{Input: []float32{1, 2}, Output: []float32{0, 0}}})
	if !errors.Is(err, storage.ErrExists) {
		t.Errorf("another version: %v", err)
	}
	for _, f := range v.Manifest.Files {
		if _, err := v.Read(t.Context(), f.Name); err != nil {
			t.Error(err)
		}
	}
}

func TestDamagedVersionIsRefused(t *testing.T) {
	store := memstore.New(memstore.Config{})
	saved := example(t, store)
	for _, key := range store.Keys() {
		name := strings.TrimPrefix(key, prefix+"/")
		whole, err := store.Bytes(key)
		if err != nil {
			t.Fatal(err)
		}
		for bit := 0; bit < 8*len(whole); bit += 7 {
			if err := store.Flip(key, bit); err != nil {
				t.Fatal(err)
			}
			v, err := version.Open(t.Context(), store, prefix, saved.ManifestSHA256)
			if err == nil && name != version.ManifestName {
				_, err = v.Read(t.Context(), name)
			}
			if !errors.Is(err, version.ErrCorrupt) {
				t.Fatalf("bit %d of %s: %v", bit, name, err)
			}
			store.Overwrite(key, whole)
		}
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(`{"body":{"format":"tandem-version","format_version":1},"sha256":"00"}`))
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := version.ParseManifest(b)
		if err != nil {
			return
		}
		if _, ok := m.File(version.ModelFile); !ok || len(m.RowShape()) == 0 || m.Width() < 1 {
			t.Errorf("accepted %+v", m)
		}
	})
}

func FuzzParseProbes(f *testing.F) {
	man := version.Manifest{Features: []string{"x"}, Task: dataset.TaskRegression}
	f.Add([]byte(`[{"input":[1],"output":[2]}]`))
	f.Add([]byte(`[{"input":[1,2],"output":[2]}]`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		probes, err := version.ParseProbes(b, man)
		if err == nil && (len(probes) == 0 || len(probes[0].Input) != 1 || len(probes[0].Output) != 1) {
			t.Errorf("accepted %v", probes)
		}
	})
}
