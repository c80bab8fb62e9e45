package fault

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// Variable is the name of the environment variable that arms faults.
const Variable = "TANDEM_FAULT"

// Actions.
const (
	Kill = "kill" // SIGKILL to this process
	Stop = "stop" // SIGSTOP to this process, which hangs until it is continued or killed
	NaN  = "nan"  // at reduce: this rank's part of the gradient is not a number; at agreed: the average is none, on this rank only
	Flip = "flip" // at applied: one bit of a parameter is another one than on the other ranks
)

// points lists every point with the actions it knows.
var points = map[string][]string{
	"join":     {Kill, Stop},       // before the process group is formed
	"sync":     {Kill, Stop},       // before the ranks agree on whose state counts
	"transfer": {Kill, Stop},       // before the last piece of the state that one rank gives the others
	"data":     {Kill, Stop},       // before a batch is put together
	"forward":  {Kill, Stop},       // before the model sees the batch
	"backward": {Kill, Stop},       // before the gradients are computed
	"reduce":   {Kill, Stop, NaN},  // this rank has put its part into an all-reduce and has not got the result
	"agreed":   {Kill, Stop, NaN},  // all gradients are averaged, nothing is applied
	"applied":  {Kill, Stop, Flip}, // the optimizer step is done
	"upload":   {Kill, Stop},       // before a checkpoint is written
}

// Fault is one armed fault: Action at Point, once, as soon as Step optimizer steps are done.
type Fault struct {
	Point  string
	Step   int64
	Action string
}

// Parse reads the value of the variable; an unknown point or action is an error that lists the known ones.
func Parse(text string) ([]Fault, error) {
	if text == "" {
		return nil, nil
	}
	var list []Fault
	for entry := range strings.SplitSeq(text, ",") {
		parts := strings.Split(entry, ":")
		if len(parts) != 3 {
			return nil, fmt.Errorf("%s: %q is not point:step:action", Variable, entry)
		}
		actions, ok := points[parts[0]]
		if !ok {
			return nil, fmt.Errorf("%s: the point %q is unknown: use %s", Variable, parts[0], strings.Join(names(), ", "))
		}
		step, err := strconv.ParseInt(parts[1], 10, 64)
		if err != nil || step < 0 {
			return nil, fmt.Errorf("%s: the step %q is not a number of optimizer steps", Variable, parts[1])
		}
		if !slices.Contains(actions, parts[2]) {
			return nil, fmt.Errorf("%s: the point %s does not know the action %q: use %s", Variable, parts[0], parts[2], strings.Join(actions, ", "))
		}
		list = append(list, Fault{Point: parts[0], Step: step, Action: parts[2]})
	}
	return list, nil
}

func names() []string {
	list := make([]string, 0, len(points))
	for name := range points {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// charge is a fault of this process.
type charge struct {
	Fault
	fired atomic.Bool
}

// charges are all faults of this process.
type charges struct {
	list []*charge
	file string // of a folder, that they are from
}

var armed = sync.OnceValues(func() (all charges, err error) {
	text := os.Getenv(Variable)
	if folder, ok := strings.CutPrefix(text, "@"); ok {
		if text, all.file, err = claim(folder); err != nil {
			return all, err
		}
	}
	list, err := Parse(text)
	for _, f := range list {
		all.list = append(all.list, &charge{Fault: f})
	}
	return all, err
})

// Endings of a file of a folder that a process took, and of one whose fault came to pass.
const (
	Taken = ".taken"
	Fired = ".fired"
)

// File returns the file of a folder that the faults of this process are from, without an ending; empty: none.
func File() string {
	all, _ := armed() // Armed tells
	return all.file
}

// claim takes the first file of a folder by name that no other process has taken, and returns what is in it: each
// process of a test gets faults of its own, and none gets them twice.
func claim(folder string) (text, file string, err error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.fault"))
	if err != nil {
		return "", "", fmt.Errorf("%s: list %s: %w", Variable, folder, err)
	}
	slices.Sort(files)
	for _, file := range files {
		taken := file + Taken
		err := os.Rename(file, taken)
		if errors.Is(err, fs.ErrNotExist) {
			continue // by another
		}
		if err != nil {
			return "", "", fmt.Errorf("%s: take %s: %w", Variable, file, err)
		}
		b, err := os.ReadFile(taken)
		if err != nil {
			return "", "", fmt.Errorf("%s: read %s: %w", Variable, taken, err)
		}
		return strings.TrimSpace(string(b)), file, nil
	}
	return "", "", nil
}

// Armed returns the faults of this process. Call it at start, to end with its error where the variable is wrong.
func Armed() ([]Fault, error) {
	all, err := armed()
	list := make([]Fault, len(all.list))
	for i, c := range all.list {
		list[i] = c.Fault
	}
	return list, err
}

// Point breaks the process where a fault is armed for this point and step.
func Point(name string, step int64) {
	all, err := armed()
	if err != nil {
		return // Armed told
	}
	for _, f := range all.list {
		if f.Point != name || step < f.Step || f.fired.Swap(true) {
			continue
		}
		if all.file != "" {
			if err := os.Rename(all.file+Taken, all.file+Fired); err != nil {
				panic(fmt.Sprintf("%s: mark it as fired: %v", Variable, err))
			}
		}
		signal := syscall.SIGSTOP
		if f.Action == Kill {
			signal = syscall.SIGKILL
		}
		if err := syscall.Kill(syscall.Getpid(), signal); err != nil {
			panic(fmt.Sprintf("%s: signal itself: %v", Variable, err))
		}
	}
}
