package main

import (
	"fmt"
	"go/build"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

const gotchModule = "github.com/sugarme/gotch"

var gotchRequire = regexp.MustCompile(`(?m)^\s*(?:require\s+)?` + regexp.QuoteMeta(gotchModule) + `\s+(v\S+)`)

// gotchVersion reads the version from the text of a go.mod.
func gotchVersion(gomod string) (string, error) {
	m := gotchRequire.FindStringSubmatch(gomod)
	if m == nil {
		return "", fmt.Errorf("go.mod does not require %s", gotchModule)
	}
	return m[1], nil
}

// findGoMod returns the text of the go.mod of the working folder or the nearest one above it.
func findGoMod() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil {
			return string(text), nil
		}
		if filepath.Dir(dir) == dir {
			return "", fmt.Errorf("no go.mod here or above: call tandem-setup in a clone of the project")
		}
		dir = filepath.Dir(dir)
	}
}

// gotchSource returns gotch's folder with C++ in the module cache, downloading the module when it does not exist yet.
func gotchSource(version string) (string, error) {
	if dir := filepath.Join(moduleCache(), gotchModule+"@"+version, "libtch"); exists(dir, wrapperFiles[0]) {
		return dir, nil
	}
	cmd := exec.Command("go", "mod", "download", "-json", gotchModule+"@"+version)
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("download %s@%s: %w: %s", gotchModule, version, err, out)
	}
	m := regexp.MustCompile(`"Dir":\s*"([^"]+)"`).FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("download %s@%s: go says no folder", gotchModule, version)
	}
	return filepath.Join(string(m[1]), "libtch"), nil
}

func moduleCache() string {
	if dir := os.Getenv("GOMODCACHE"); dir != "" {
		return dir
	}
	return filepath.Join(strings.Split(build.Default.GOPATH, string(filepath.ListSeparator))[0], "pkg/mod")
}
