package dataset

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"tandem.dev/storage/sealed"
)

// ManifestName is the manifest's key below the dataset's prefix. It is written last.
const ManifestName = "manifest.json"

const (
	format        = "tandem-dataset"
	formatVersion = 1
	maxManifest   = 32 << 20 // bytes
)

// ErrCorrupt: a manifest or shard is damaged, missing or of an unknown format. Make the
// dataset again from its source.
var ErrCorrupt = errors.New("corrupt dataset")

// Manifest describes a dataset.
type Manifest struct {
	Format        string        `json:"format"`
	FormatVersion int           `json:"format_version"`
	Task          Task          `json:"task"`
	Features      []string      `json:"features"` // column names, in the order of a sample's values
	Shape         []int64       `json:"shape"`    // of one sample; its product is the number of features
	Label         string        `json:"label"`    // column name
	NumClasses    int           `json:"num_classes,omitempty"`
	ClassNames    []string      `json:"class_names,omitempty"` // absent if the labels are 0..NumClasses-1 themselves
	Normalization Normalization `json:"normalization"`
	Stats         []Stats       `json:"stats,omitempty"` // of each feature, raw, in the training split; none for text
	Splits        []Split       `json:"splits"`
	Ratio         Ratio         `json:"ratio"`
	Seed          uint64        `json:"seed"`
	Source        Source        `json:"source"`
}

// Split is one part of the data.
type Split struct {
	Name        string  `json:"name"`
	Rows        int64   `json:"rows"`
	ClassCounts []int64 `json:"class_counts,omitempty"` // rows of each class
	Shards      []Shard `json:"shards"`
}

// Shard is one Arrow file.
type Shard struct {
	Key    string `json:"key"` // below the dataset's prefix
	SHA256 string `json:"sha256"`
	Bytes  int64  `json:"bytes"`
	Rows   int64  `json:"rows"`
}

// Source tells what the dataset was made from.
type Source struct {
	SHA256      string        `json:"sha256"` // of the file
	Bytes       int64         `json:"bytes"`
	Rows        int64         `json:"rows"`         // data rows read
	BadRows     int64         `json:"bad_rows"`     // left out because they were bad
	DroppedRows int64         `json:"dropped_rows"` // left out because of missing values
	FilledCells int64         `json:"filled_cells"` // missing values replaced by a mean
	Duplicates  int64         `json:"duplicates"`   // rows equal to an earlier one, kept
	Missing     MissingPolicy `json:"missing"`
}

// FeatureDim returns the number of features of a sample.
func (m Manifest) FeatureDim() int { return len(m.Features) }

// Outputs returns how many numbers a model has to give for a sample, or for each place of
// its text: one for each class, or 1.
func (m Manifest) Outputs() int {
	if m.Task == TaskRegression {
		return 1
	}
	return m.NumClasses
}

// OutputShape returns the shape of what a model has to give for a sample: [classes], [1] or,
// for text, [classes, places].
func (m Manifest) OutputShape() []int64 {
	if m.Task == TaskLanguage {
		return []int64{int64(m.NumClasses), int64(m.FeatureDim())}
	}
	return []int64{int64(m.Outputs())}
}

// Split finds a split by name.
func (m Manifest) Split(name string) (Split, bool) {
	for _, s := range m.Splits {
		if s.Name == name {
			return s, true
		}
	}
	return Split{}, false
}

// Shards returns all shards of all splits in order.
func (m Manifest) Shards() []Shard {
	var all []Shard
	for _, s := range m.Splits {
		all = append(all, s.Shards...)
	}
	return all
}

// ParseManifest reads and checks the bytes of a manifest. It does not look at the shards.
func ParseManifest(b []byte) (Manifest, error) {
	m, err := sealed.Parse(b, maxManifest, Manifest.check)
	if err != nil {
		return m, fmt.Errorf("%w: manifest: %w", ErrCorrupt, err)
	}
	return m, nil
}

func (m Manifest) check() error {
	if m.Format != format || m.FormatVersion != formatVersion {
		return fmt.Errorf("format %q version %d; this program knows %q version %d", m.Format, m.FormatVersion, format, formatVersion)
	}
	dim := len(m.Features)
	stats := dim
	if m.Task == TaskLanguage {
		stats = 0
	}
	if dim == 0 || dim > maxDim || len(m.Stats) != stats {
		return fmt.Errorf("%d features and %d statistics", dim, len(m.Stats))
	}
	if err := checkShape(m.Shape, dim); err != nil {
		return err
	}
	if err := m.Normalization.Validate(dim); err != nil {
		return err
	}
	switch m.Task {
	case TaskClassification:
		if m.NumClasses < 1 || len(m.ClassNames) != 0 && len(m.ClassNames) != m.NumClasses {
			return fmt.Errorf("%d classes with %d names", m.NumClasses, len(m.ClassNames))
		}
	case TaskRegression:
		if m.NumClasses != 0 || len(m.ClassNames) != 0 {
			return errors.New("classes in a regression")
		}
	case TaskLanguage:
		if m.NumClasses != byteClasses || len(m.ClassNames) != 0 || len(m.Shape) != 1 || m.Normalization.Method != MethodNone {
			return fmt.Errorf("text with %d classes, shape %v and normalisation %s", m.NumClasses, m.Shape, m.Normalization.Method)
		}
	default:
		return fmt.Errorf("unknown task %.40q", m.Task)
	}
	counted := m.NumClasses
	if m.Task == TaskLanguage {
		counted = 0 // a row has no class
	}
	if len(m.Splits) != 3 {
		return fmt.Errorf("%d splits instead of 3", len(m.Splits))
	}
	for i, name := range splitNames() {
		if m.Splits[i].Name != name {
			return fmt.Errorf("split %d is %.40q instead of %q", i, m.Splits[i].Name, name)
		}
		if err := m.Splits[i].check(counted); err != nil {
			return fmt.Errorf("split %s: %w", name, err)
		}
	}
	if m.Splits[0].Rows == 0 {
		return errors.New("the training split is empty")
	}
	return nil
}

func (s Split) check(classes int) error {
	var rows, counted int64
	for i, sh := range s.Shards {
		if sh.Key != shardKey(s.Name, i) || len(sh.SHA256) != 64 {
			return fmt.Errorf("shard %d has key %.80q and sha256 %.80q", i, sh.Key, sh.SHA256)
		}
		if sh.Rows <= 0 || sh.Rows > maxRows || sh.Bytes <= 0 || sh.Bytes > maxShard {
			return fmt.Errorf("shard %d has %d rows and %d bytes", i, sh.Rows, sh.Bytes)
		}
		rows += sh.Rows
	}
	if rows != s.Rows || rows > maxRows {
		return fmt.Errorf("%d rows, its shards have %d", s.Rows, rows)
	}
	if len(s.ClassCounts) != classes {
		return fmt.Errorf("counts of %d classes instead of %d", len(s.ClassCounts), classes)
	}
	for _, n := range s.ClassCounts {
		if n < 0 || n > rows {
			return fmt.Errorf("%d rows of a class", n)
		}
		counted += n
	}
	if classes > 0 && counted != rows {
		return fmt.Errorf("%d rows, its classes have %d", rows, counted)
	}
	return nil
}

const (
	maxShard = 1 << 31 // bytes
	maxRows  = 1 << 31
	maxDim   = 1 << 24
)

func checkShape(shape []int64, dim int) error {
	n := int64(1)
	for _, d := range shape {
		if d <= 0 || n > math.MaxInt32/d {
			return fmt.Errorf("shape %v of a sample is not possible", shape)
		}
		n *= d
	}
	if len(shape) == 0 || n != int64(dim) {
		return fmt.Errorf("shape %v has %d values, the file has %d feature columns", shape, n, dim)
	}
	return nil
}

// shardKey names the i-th shard of a split.
func shardKey(split string, i int) string { return fmt.Sprintf("%s-%05d.arrow", split, i) }

// ClassName returns the name of class c, which must be below NumClasses.
func (m Manifest) ClassName(c int) string {
	if len(m.ClassNames) > 0 {
		return m.ClassNames[c]
	}
	return strconv.Itoa(c)
}
