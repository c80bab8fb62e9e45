package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/input"
	"tandem.dev/cmd/tandem/quantity"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/dataset"
)

// datasetSource is what a dataset is made of.
type datasetSource struct {
	name    string
	from    string // path of a file; "-" for standard input
	options dataset.Options
	text    *dataset.TextOptions // a text file; nil: a CSV file
}

func (a *app) datasetCreateCommand() *cobra.Command {
	var from, split, normalize, dims, missing, task, comma string
	var text bool
	var window int
	o := dataset.DefaultOptions()
	cmd := &cobra.Command{
		Use:   "create NAME --from FILE.csv --label COLUMN | create NAME --from FILE.txt --text --context BYTES",
		Short: "Make a dataset from a CSV file or a text",
		Long: `Make a dataset from a CSV file. The file is read here: columns, types, missing values and bad rows are reported by
line before anything is sent. The split is seeded and, for classes, stratified; the statistics for normalisation come from
the training split alone and go with every model that is trained on the data.

With --text the file is for a language model over bytes. Its beginning is for training and its end for validation and test;
each is cut into windows of --context bytes, and every byte is predicted from those before it in its window.

A name that is there gets a new version; jobs that were submitted keep theirs.`,
		Example: "  tandem dataset create digits --from digits.csv --label label --split 80/10/10 --normalize standard --shape 1,8,8\n" +
			"  tandem dataset create novel --from novel.txt --text --context 128 --split 90/10",
		Args: want("NAME"),
	}
	cmd.RunE = a.call(func(ctx context.Context, c *client.Client, args []string) error {
		if from == "" {
			return &usageError{fmt.Errorf("name the file with --from FILE.csv (- for standard input)")}
		}
		var err error
		if o.Split, err = dataset.ParseSplit(split); err != nil {
			return &usageError{err}
		}
		src := datasetSource{name: args[0], from: from}
		if text {
			src.text = &dataset.TextOptions{Context: window, Split: o.Split, Limits: o.Limits}
			if err := errors.Join(onlyForTables(cmd), src.text.Validate()); err != nil {
				return &usageError{err}
			}
			return a.createDataset(ctx, c, src)
		}
		if cmd.Flags().Changed("context") {
			return &usageError{errors.New("--context goes with --text")}
		}
		if o.Normalize, err = dataset.ParseNormalize(normalize); err != nil {
			return &usageError{err}
		}
		if o.Shape, err = parseShape(dims); err != nil {
			return &usageError{err}
		}
		if o.Comma, err = parseComma(comma); err != nil {
			return &usageError{err}
		}
		o.Missing, o.Task = dataset.MissingPolicy(missing), dataset.Task(task)
		if err := o.Validate(); err != nil {
			return &usageError{err}
		}
		src.options = o
		return a.createDataset(ctx, c, src)
	})
	f := cmd.Flags()
	f.StringVar(&from, "from", "", "CSV or text file; - for standard input")
	f.StringVar(&o.Label, "label", "", "column to learn")
	f.StringVar(&split, "split", o.Split.String(), "training/validation/test, as parts of their sum; 80/20 has no test split")
	f.StringVar(&normalize, "normalize", string(o.Normalize.Method), "none, standard, standard-global, minmax, minmax-global or scale:FACTOR")
	f.StringVar(&dims, "shape", "", "shape of one row, such as 1,8,8 (channels, height, width); flat by default")
	f.StringSliceVar(&o.Drop, "drop", nil, "columns to leave out")
	quantity.Flag(f, &o.Seed, "seed", 0, 0, 0, "seed of the split")
	f.StringVar(&missing, "missing", string(o.Missing), "rows with missing values: error, drop or mean")
	f.StringVar(&task, "task", "", "classification or regression; decided from the label column by default")
	quantity.Flag(f, &o.MaxBadRows, "max-bad-rows", 0, 0, 0, "most bad rows that may be left out")
	f.BoolVar(&o.NoHeader, "no-header", false, "the first line is data; columns are then named c0, c1 ...")
	f.BoolVar(&text, "text", false, "the file is a text for a language model")
	quantity.Flag(f, &window, "context", 0, 1, 0, "with --text: bytes of a window")
	f.StringVar(&comma, "comma", ",", `what parts the cells; "tab" for tabs`)
	return cmd
}

// onlyForTables refuses flags that mean nothing for a text.
func onlyForTables(cmd *cobra.Command) error {
	for _, name := range []string{"label", "normalize", "shape", "drop", "seed", "missing", "task", "max-bad-rows", "no-header", "comma"} {
		if cmd.Flags().Changed(name) {
			return fmt.Errorf("--%s goes with a CSV file, not with --text", name)
		}
	}
	return nil
}

func (a *app) createDataset(ctx context.Context, c *client.Client, src datasetSource) error {
	made, err := a.makeDataset(ctx, c, src)
	if err != nil {
		return err
	}
	d := made.GetDataset()
	return a.show(made, text(fmt.Sprintf("%s@%d was created (%s).", d.GetName(), d.GetVersion(), d.GetId())))
}

func parseShape(s string) ([]int64, error) {
	if s == "" {
		return nil, nil
	}
	var dims []int64
	for d := range strings.SplitSeq(strings.ReplaceAll(s, "x", ","), ",") {
		n, err := strconv.ParseInt(strings.TrimSpace(d), 10, 64)
		if err != nil || n <= 0 {
			return nil, fmt.Errorf("shape %q: %q is not a positive whole number; write for example 1,8,8", s, d)
		}
		dims = append(dims, n)
	}
	return dims, nil
}

func parseComma(s string) (rune, error) {
	if s == "tab" || s == `\t` {
		return '\t', nil
	}
	if r := []rune(s); len(r) == 1 && !strings.ContainsRune("\"\r\n\uFFFD", r[0]) {
		return r[0], nil
	}
	return 0, fmt.Errorf("comma %q: give one character that is not a quote, or tab", s)
}

// makeDataset converts a file here, says what it found, uploads the files and commits them.
func (a *app) makeDataset(ctx context.Context, c *client.Client, src datasetSource) (*tandemv1.CreateDatasetResponse, error) {
	in := a.in
	if src.from != "-" {
		f, err := input.Open(src.from)
		if err != nil {
			return nil, &usageError{fmt.Errorf("read data: %w", err)}
		}
		defer f.Close()
		in = f
	}
	// The name is checked before a long file is read.
	begun, err := c.Datasets.BeginDataset(ctx, connect.NewRequest(&tandemv1.BeginDatasetRequest{Name: src.name}))
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "tandem-dataset-*")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the converted data: %w", err)
	}
	defer os.RemoveAll(dir)
	files, total, err := a.convert(ctx, in, dir, src)
	if err != nil {
		return nil, err
	}
	bar := a.transferBar("Uploading", total)
	defer bar.Close()
	manifest := ""
	for _, name := range files {
		sum, err := a.uploadPath(ctx, c, filepath.Join(dir, name), upload{datasetID: begun.Msg.GetId(), name: name, progress: bar})
		if err != nil {
			return nil, err
		}
		manifest = sum // the last one
	}
	bar.Close()
	res, err := c.Datasets.CreateDataset(ctx, connect.NewRequest(&tandemv1.CreateDatasetRequest{
		Name: src.name, Id: begun.Msg.GetId(), ManifestSha256: manifest, RequestId: a.newRequestID(),
	}))
	if err != nil {
		return nil, err
	}
	return res.Msg, nil
}

// convert writes the dataset's files into dir and says on standard error what was found; the manifest is the last.
func (a *app) convert(ctx context.Context, in io.Reader, dir string, src datasetSource) (names []string, total int64, err error) {
	sink := func(name string, data []byte) error {
		names, total = append(names, name), total+int64(len(data))
		return os.WriteFile(filepath.Join(dir, name), data, 0o600)
	}
	if src.text != nil {
		m, err := dataset.FromText(ctx, in, *src.text, sink)
		if err != nil {
			return nil, 0, &usageError{err}
		}
		a.say("Read %s bytes: %s windows of %d.", count(m.Source.Bytes), count(m.Source.Rows), src.text.Context)
		a.reportSplits(m)
		return names, total, nil
	}
	m, report, err := dataset.FromCSV(ctx, in, src.options, sink)
	if err != nil {
		return nil, 0, &usageError{err}
	}
	a.reportDataset(m, report)
	return names, total, nil
}

// maxShownProblems is how many bad rows are named.
const maxShownProblems = 20

func (a *app) reportDataset(m dataset.Manifest, r dataset.Report) {
	a.say("Read %s rows, %d features of shape %s, label %q (%s).", count(r.Rows), m.FeatureDim(), shape(m.Shape), m.Label, m.Task)
	if r.TaskReason != "" {
		a.say("  %s: %s", m.Task, r.TaskReason)
	}
	for _, p := range r.Bad[:min(len(r.Bad), maxShownProblems)] {
		a.say("  left out: %s", p)
	}
	for _, p := range r.Dropped[:min(len(r.Dropped), max(0, maxShownProblems-len(r.Bad)))] {
		a.say("  left out: %s", p)
	}
	if n := r.BadRows + r.DroppedRows; n > 0 {
		a.say("  %s rows were left out: %s bad, %s with missing values.", count(n), count(r.BadRows), count(r.DroppedRows))
	}
	if r.FilledCells > 0 {
		a.say("  %s missing values became the mean of their column.", count(r.FilledCells))
	}
	for _, c := range r.Columns {
		if c.Merged > 0 && (c.Role != "label" || m.Task == dataset.TaskRegression) && c.Role != "dropped" {
			a.say("  column %s: different values became equal as 32-bit numbers, such as %s and %s; subtract what all have in common, or leave the column out with --drop %s.",
				c.Name, c.MergedExample[0], c.MergedExample[1], c.Name)
		}
	}
	a.doubts(m, r)
	if r.Duplicates > 0 {
		a.say("  %s rows are equal to an earlier one; %s of validation and test to a training row.", count(r.Duplicates), count(r.Leaked))
	}
	a.reportSplits(m)
}

// doubts says what the data looks like that is seldom meant.
func (a *app) doubts(m dataset.Manifest, r dataset.Report) {
	var constant, counts []string
	for _, c := range r.Columns {
		switch {
		case c.Constant:
			constant = append(constant, c.Name)
		case c.Counts:
			counts = append(counts, c.Name)
		}
	}
	if len(constant) > 0 {
		a.say("  %s: all values are the same, so there is nothing to learn from that; leave out what is constant with --drop.", someOf("column", "columns", constant))
	}
	if len(counts) > 0 {
		a.say("  %s: each row has a larger (or smaller) value than the one before, as ids and times have; leave ids out with --drop.", someOf("column", "columns", counts))
	}
	if r.Scales[0] != "" {
		a.say("  columns %s and %s differ in scale by a factor of more than 1,000: with --normalize standard a model sees both.", r.Scales[0], r.Scales[1])
	}
	for i, s := range m.Splits {
		var without []string
		for _, c := range r.Classes {
			if c.Rows[i] == 0 && m.Ratio[i] > 0 {
				without = append(without, c.Name)
			}
		}
		if len(without) > 0 {
			a.say("  %s: no row in the %s split, so what is measured there says nothing about that; add rows, or give that split a larger part.", someOf("class", "classes", without), s.Name)
		}
	}
}

// someOf names the first few of many: "columns a, b, c, d, e and 7 more".
func someOf(one, many string, names []string) string {
	const shown = 5
	if len(names) == 1 {
		return one + " " + names[0]
	}
	if len(names) <= shown {
		return many + " " + strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s %s and %d more", many, strings.Join(names[:shown], ", "), len(names)-shown)
}

func (a *app) reportSplits(m dataset.Manifest) {
	if s, _ := m.Split(dataset.Validation); s.Rows == 0 {
		a.say("  No rows are for validation, without which no job can train: make it again with, for example, --split 80/10/10.")
	}
	g := splitGrid(m)
	g.title = ""
	g.write(a.err, a.view())
}
