package child

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestKeepInherited: a file that whoever started this program left open does not reach the programs that this one starts.
func TestKeepInherited(t *testing.T) {
	left, err := unix.Open("/etc/passwd", unix.O_RDONLY, 0) // as a shell leaves it: no O_CLOEXEC
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(left)
	given, err := os.Open("/etc/group")
	if err != nil {
		t.Fatal(err)
	}
	defer given.Close()
	descriptors := func() string {
		cmd := exec.Command("ls", "-l", "/proc/self/fd")
		cmd.ExtraFiles = []*os.File{given}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	if got := descriptors(); !strings.Contains(got, "/etc/passwd") {
		t.Fatalf("the test leaves nothing open:\n%s", got)
	}
	if err := KeepInherited(); err != nil {
		t.Fatal(err)
	}
	if got := descriptors(); strings.Contains(got, "/etc/passwd") || !strings.Contains(got, "/etc/group") {
		t.Errorf("want the file that is handed over, and not the one that was left open:\n%s", got)
	}
}
