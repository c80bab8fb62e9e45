package fault_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tandem.dev/worker/fault"
)

func TestMain(m *testing.M) {
	if os.Getenv(fault.Variable) != "" {
		for step := range int64(3) {
			fault.Point("upload", step)
			fault.Point("data", step)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestParse(t *testing.T) {
	got, err := fault.Parse("reduce:12:kill,applied:0:flip")
	if diff := cmp.Diff([]fault.Fault{{"reduce", 12, fault.Kill}, {"applied", 0, fault.Flip}}, got); err != nil || diff != "" {
		t.Errorf("error %v, (-want +got):\n%s", err, diff)
	}
	if got, err := fault.Parse(""); got != nil || err != nil {
		t.Errorf("nothing armed: %v, %v", got, err)
	}
	for text, want := range map[string]string{
		"reduce:1":        "point:step:action",
		"reduce:1:kill:x": "point:step:action",
		"redcue:1:kill":   "agreed, applied, backward",
		"reduce:-1:kill":  "not a number",
		"reduce:x:kill":   "not a number",
		"reduce:1:flip":   "use kill, stop, nan",
		"reduce:1:kill,":  "point:step:action",
	} {
		if _, err := fault.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestPointKillsFromItsStepOn(t *testing.T) {
	for armed, dies := range map[string]bool{"data:2:kill": true, "data:0:kill": true, "data:3:kill": false, "forward:1:kill": false} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), fault.Variable+"="+armed)
		err := cmd.Run()
		status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if killed := ok && status.Signaled() && status.Signal() == syscall.SIGKILL; killed != dies {
			t.Errorf("%s: %v, want killed: %v", armed, err, dies)
		}
	}
}

// Each process of a folder's faults takes one file, in order; who comes too late gets none.
func TestFaultsOfAFolderAreTakenOnce(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"1.fault": "data:0:kill\n", "2.fault": "data:9:kill", "x.txt": "data:0:kill"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var killed []bool
	for range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), fault.Variable+"=@"+dir)
		_ = cmd.Run() // how it ended is what counts
		status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
		killed = append(killed, ok && status.Signaled())
	}
	if diff := cmp.Diff([]bool{true, false, false}, killed); diff != "" {
		t.Errorf("killed (-want +got):\n%s", diff)
	}
	for _, name := range []string{"1.fault" + fault.Fired, "2.fault" + fault.Taken} { // the second one's step never came
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}
