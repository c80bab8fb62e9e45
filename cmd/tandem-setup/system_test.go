package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fakeApt puts an apt-get (and a sudo) in front of the PATH that writes down what it is asked and installs only after an update.
func fakeApt(t *testing.T) (asked func() []string) {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "asked")
	scripts := map[string]string{
		"apt-get": `#!/bin/sh
echo "$@" >>` + log + `
case "$*" in
*update*) touch ` + dir + `/updated ;;
*) test -e ` + dir + `/updated ;;
esac
`,
		"sudo": "#!/bin/sh\nif [ \"$1\" = -n ]; then shift; fi\nexec \"$@\"\n",
	}
	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() []string {
		text, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSpace(string(text)), "\n")
	}
}

func TestInstallUpdatesTheListsWhenItMust(t *testing.T) {
	asked := fakeApt(t)
	done, err := install([]string{"libtorch-dev", "libopenblas0-pthread"}, io.Discard)
	if err != nil || !done {
		t.Fatalf("got %v, %v", done, err)
	}
	const want = "-y -q install --no-install-recommends libtorch-dev libopenblas0-pthread"
	if diff := cmp.Diff([]string{want, "-y -q update", want}, asked()); diff != "" {
		t.Error(diff)
	}
	if _, err := install([]string{"libtorch-dev"}, io.Discard); err != nil {
		t.Fatal(err)
	}
	if got := asked(); len(got) != 4 {
		t.Errorf("with good lists it asks once, got %q", got[3:])
	}
}

func TestInstallWithoutApt(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	done, err := install(packages, io.Discard)
	if done || err != nil {
		t.Errorf("got %v, %v", done, err)
	}
}

func TestProvideSaysWhatIsMissing(t *testing.T) {
	for missing, want := range map[error]string{errNoLibtorch: "apt-get install libtorch-dev libopenblas0-pthread", errNoCompiler: "apt-get install g++"} {
		if _, err := provide(missing, false, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v", missing, err)
		}
	}
}

func TestMissing(t *testing.T) {
	slow, both := t.TempDir(), t.TempDir()
	write(t, slow, "libblas.so.3", "")
	write(t, both, "libblas.so.3", "")
	write(t, both, "openblas-pthread/libblas.so.3", "")
	tests := map[string]struct {
		machine machine
		want    []string
	}{
		"reference BLAS, no gloo":      {machine{torch: Libtorch{Source: "system"}, linkPaths: []string{slow}}, []string{"libopenblas0-pthread", "libgloo-dev"}},
		"the reference BLAS is chosen": {machine{torch: Libtorch{Source: "system", Gloo: true}, linkPaths: []string{both}}, nil},
		"not the system's":             {machine{torch: Libtorch{Source: "python3"}, linkPaths: []string{slow}}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tt.machine.missing()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
