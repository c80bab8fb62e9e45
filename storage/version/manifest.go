package version

import (
	"errors"
	"fmt"
	"math"

	"tandem.dev/storage"
	"tandem.dev/storage/dataset"
	"tandem.dev/storage/sealed"
)

const (
	format        = "tandem-version"
	formatVersion = 1

	// ManifestName is the manifest's key below the version's prefix. It is written last.
	ManifestName = "manifest.json"
	// ModelFile is the TorchScript file, in evaluation mode, on the CPU.
	ModelFile = "model.pt"
	// WeightsFile holds parameters and buffers by their names in the model.
	WeightsFile = "model.safetensors"
	// ProbesFile holds questions with their known answers.
	ProbesFile = "probes.json"

	maxFile = 64 << 30 // bytes
)

// Errors of this package, matched with errors.Is.
var (
	// ErrCorrupt: a file of the version is damaged, missing or of an unknown format.
	ErrCorrupt = errors.New("corrupt version")
	// ErrProbe: the model does not give the answers it gave when it was published.
	ErrProbe = errors.New("the model does not answer as it did when it was published")
	// ErrOutput: the model's output is not what the dataset needs.
	ErrOutput = errors.New("wrong output of the model")
)

// Manifest describes a version.
type Manifest struct {
	Format        string                `json:"format"`         // set by Save
	FormatVersion int                   `json:"format_version"` // set by Save
	Version       string                `json:"version"`        // its id
	Model         string                `json:"model"`
	Task          dataset.Task          `json:"task"`
	Input         Signature             `json:"input"`
	Outputs       []Signature           `json:"outputs"`
	Features      []string              `json:"features"` // names of a row's values, in order
	Classes       int                   `json:"classes,omitempty"`
	ClassNames    []string              `json:"class_names,omitempty"` // absent if the labels are 0..Classes-1 themselves
	Normalization dataset.Normalization `json:"normalization"`         // of raw inputs, before the model
	Metrics       map[string]float64    `json:"metrics,omitempty"`     // test_* and validation_*
	Lineage       Lineage               `json:"lineage"`
	Libtorch      string                `json:"libtorch"` // that wrote the model file
	Files         []File                `json:"files"`    // set by Save
}

// Signature describes a tensor as the Open Inference Protocol does; -1 is the number of rows.
type Signature struct {
	Name     string  `json:"name"`
	Datatype string  `json:"datatype"`
	Shape    []int64 `json:"shape"`
}

// Lineage says where a version came from; the fields are those of the proto.
type Lineage struct {
	Job        string `json:"job"`
	Trial      string `json:"trial"`
	Checkpoint string `json:"checkpoint"`
	Step       int64  `json:"step"`
	DatasetID  string `json:"dataset_id"`
	Dataset    string `json:"dataset"`
	SpecHash   string `json:"spec_hash"`
	Seed       int64  `json:"seed"`
}

// File is one file of a version.
type File struct {
	Name   string `json:"name"`
	Key    string `json:"key"` // below the version's prefix; the name, unless an attempt left another file there
	SHA256 string `json:"sha256"`
	Bytes  int64  `json:"bytes"`
}

// Dim returns the number of values of an input row.
func (m Manifest) Dim() int { return len(m.Features) }

// RowShape returns the shape of one input row.
func (m Manifest) RowShape() []int64 { return m.Input.Shape[1:] }

// HasClasses tells whether the outputs are scores of classes.
func (m Manifest) HasClasses() bool { return m.Task != dataset.TaskRegression }

// OutputShape returns the shape of what the model gives for a row.
func (m Manifest) OutputShape() []int64 {
	return dataset.Manifest{Task: m.Task, NumClasses: m.Classes, Features: m.Features}.OutputShape()
}

// Width returns how many numbers the model gives for a row.
func (m Manifest) Width() int {
	n := 1
	for _, d := range m.OutputShape() {
		n *= int(d)
	}
	return n
}

// File finds a file by name.
func (m Manifest) File(name string) (File, bool) {
	for _, f := range m.Files {
		if f.Name == name {
			return f, true
		}
	}
	return File{}, false
}

// ParseManifest reads and checks the bytes of a manifest. It does not look at the files.
func ParseManifest(b []byte) (Manifest, error) {
	m, err := sealed.Parse(b, storage.MaxCommit, Manifest.check)
	if err != nil {
		return m, fmt.Errorf("%w: manifest: %w", ErrCorrupt, err)
	}
	return m, nil
}

func (m Manifest) check() error {
	if m.Format != format || m.FormatVersion != formatVersion {
		return fmt.Errorf("format %q version %d; this program knows %q version %d", m.Format, m.FormatVersion, format, formatVersion)
	}
	switch {
	case m.Task != dataset.TaskClassification && m.Task != dataset.TaskRegression && m.Task != dataset.TaskLanguage:
		return fmt.Errorf("unknown task %.40q", m.Task)
	case m.Task != dataset.TaskRegression && (m.Classes < 1 || len(m.ClassNames) != 0 && len(m.ClassNames) != m.Classes):
		return fmt.Errorf("%d classes with %d names", m.Classes, len(m.ClassNames))
	case len(m.Input.Shape) < 2:
		return fmt.Errorf("input shape %v", m.Input.Shape)
	}
	n := int64(1)
	for _, d := range m.RowShape() {
		if d <= 0 || n > math.MaxInt32/d {
			return fmt.Errorf("input shape %v", m.Input.Shape)
		}
		n *= d
	}
	if n != int64(m.Dim()) {
		return fmt.Errorf("input shape %v with %d features", m.Input.Shape, m.Dim())
	}
	if err := m.Normalization.Validate(m.Dim()); err != nil {
		return err
	}
	for _, name := range []string{ModelFile, WeightsFile, ProbesFile} {
		f, ok := m.File(name)
		if !ok {
			return fmt.Errorf("no %s", name)
		}
		if len(f.SHA256) != 64 || f.Bytes <= 0 || f.Bytes > maxFile || storage.CheckKey(f.Key) != nil {
			return fmt.Errorf("file %s has key %.80q, sha256 %.80q and %d bytes", name, f.Key, f.SHA256, f.Bytes)
		}
	}
	return nil
}

// Signatures describes the inputs and outputs of a model trained on a dataset.
func Signatures(m dataset.Manifest) (input Signature, outputs []Signature) {
	input = Signature{"input", "FP32", append([]int64{-1}, m.Shape...)}
	shape := append([]int64{-1}, m.OutputShape()...)
	outputs = []Signature{{"output", "FP32", shape}}
	if m.Task == dataset.TaskClassification {
		label := Signature{"label", "INT64", []int64{-1}}
		if len(m.ClassNames) > 0 {
			label.Datatype = "BYTES"
		}
		outputs = append(outputs, Signature{"probabilities", "FP32", shape}, label)
	}
	return input, outputs
}
