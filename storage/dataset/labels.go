package dataset

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// decoded is the label column as numbers.
type decoded struct {
	task       Task
	reason     string // why task, if it was left open
	classes    int
	classNames []string  // nil if the labels are 0..classes-1
	labels     []int64   // of each row, for classification
	targets    []float32 // of each row, for regression
	bad        map[int]string
}

// autoMaxClasses: more different whole numbers than that are taken for a quantity.
const autoMaxClasses = 100

// decodeLabels makes numbers of the label texts. Rows whose label does not fit are in bad,
// by row index. Left to itself it takes text, and few whole numbers that repeat, for
// classes, and everything else for a quantity. Labels with leading zeros, such as 007, are codes: each text is a class of its own.
func decodeLabels(texts []string, o Options) (*decoded, error) {
	d := &decoded{task: o.Task, bad: map[int]string{}}
	if d.task == TaskRegression {
		return d, d.regress(texts)
	}
	numeric, whole, codes := 0, 0, slices.ContainsFunc(texts, isCode)
	wholes := make([]string, len(texts))
	for i, s := range texts {
		if _, kind := number(s); kind != kindText {
			numeric++
		}
		var ok bool
		if wholes[i], ok = wholeNumber(s); ok {
			whole++
		}
	}
	if whole == numeric && (whole == len(texts) || d.task == TaskAuto) && !codes {
		texts = wholes // 1, 1.0 and +1 are one class
	}
	distinct := map[string]bool{}
	for _, s := range texts {
		distinct[s] = true
	}
	if d.task == TaskAuto {
		switch {
		case 2*numeric < len(texts):
			d.task, d.reason = TaskClassification, "the labels are text"
			if len(distinct) > autoMaxClasses && 2*len(distinct) > len(texts) {
				return nil, fmt.Errorf("the label column holds %d different texts in %d rows; is it the right column? If so, pass --task classification", len(distinct), len(texts))
			}
		case whole == numeric && len(distinct) <= autoMaxClasses && 2*len(distinct) <= len(texts):
			d.task, d.reason = TaskClassification, fmt.Sprintf("the labels are %d different whole numbers", len(distinct))
			if codes {
				d.reason = fmt.Sprintf("the labels are %d different codes: some whole numbers begin with 0", len(distinct))
			}
			if len(distinct) > 20 {
				d.reason += "; if they are amounts or years, pass --task regression"
			}
			words := haveWords(texts)
			if words {
				d.reason = fmt.Sprintf("the labels are %d different whole numbers and words", len(distinct))
			}
			for i, s := range texts {
				if _, ok := wholeNumber(s); !ok && !words {
					d.bad[i] = fmt.Sprintf("bad label %.40q: nearly all others are whole numbers (with --task classification any text is a class)", s)
				}
			}
		default:
			d.task, d.reason = TaskRegression, fmt.Sprintf("the labels are %d different numbers", len(distinct))
			return d, d.regress(texts)
		}
	}
	return d, d.classify(texts, o)
}

// haveWords says whether labels that are mostly whole numbers have words among them too: more than one in 20, some of them more than
// once, are not slips of the keyboard.
func haveWords(texts []string) bool {
	all, words := 0, map[string]bool{}
	for _, s := range texts {
		if _, ok := wholeNumber(s); !ok {
			all++
			words[s] = true
		}
	}
	return 20*all > len(texts) && len(words) < all
}

// errOneLabel: classes or numbers, one alone teaches nothing.
var errOneLabel = errors.New("all labels are the same, so there is nothing to learn")

func (d *decoded) regress(texts []string) error {
	d.targets = make([]float32, len(texts))
	for i, s := range texts {
		v, kind := number(s)
		if kind != kindInt && kind != kindFloat {
			d.bad[i] = fmt.Sprintf("bad label %.40q: regression needs a finite number", s)
		}
		d.targets[i] = v
	}
	if len(texts) > 1 && len(d.bad) == 0 && slices.Min(d.targets) == slices.Max(d.targets) {
		return errOneLabel
	}
	return nil
}

// classify numbers the classes: in numerical order if all are whole numbers, else in byte
// order of their names.
func (d *decoded) classify(texts []string, o Options) error {
	seen := map[string]bool{}
	allInts := true
	for i, s := range texts {
		if _, bad := d.bad[i]; bad {
			continue
		}
		if len(s) > 256 {
			return fmt.Errorf("a label has %d bytes, at most 256 are allowed: %.40q", len(s), s)
		}
		seen[s] = true
		if w, ok := wholeNumber(s); !ok || w != s {
			allInts = false
		}
	}
	if len(seen) > o.Limits.Classes {
		return fmt.Errorf("the label column holds %d classes, at most %d are allowed; for a quantity pass --task regression", len(seen), o.Limits.Classes)
	}
	if len(seen) < 2 && len(texts) > 0 {
		return errOneLabel
	}
	names := make([]string, 0, len(seen))
	for s := range seen {
		names = append(names, s)
	}
	slices.SortFunc(names, func(a, b string) int {
		if allInts {
			x, _ := strconv.ParseInt(a, 10, 64)
			y, _ := strconv.ParseInt(b, 10, 64)
			return cmp.Compare(x, y)
		}
		return cmp.Compare(a, b)
	})
	index := make(map[string]int64, len(names))
	plain := true
	for i, s := range names {
		index[s] = int64(i)
		plain = plain && s == strconv.Itoa(i)
	}
	d.classes = len(names)
	if !plain {
		d.classNames = names
	}
	d.labels = make([]int64, len(texts))
	for i, s := range texts {
		d.labels[i] = index[s]
	}
	return nil
}
