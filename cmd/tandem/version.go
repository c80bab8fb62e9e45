package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"tandem.dev/proto/schema"
)

// release is the version of this source.
const release = "0.1.0"

// source is the commit that this program was built from; empty: not known, as in "go run" and tests.
func source() (commit string, modified bool) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "", false
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = true
		}
	}
	return commit, modified && commit != ""
}

// version is the release, with the commit it was built from where that is known.
func version() string { return versionOf(source()) }

func versionOf(commit string, modified bool) string {
	switch {
	case commit == "":
		return release
	case modified:
		return release + "+" + shortCommit(commit) + ".dirty"
	}
	return release + "+" + shortCommit(commit)
}

func shortCommit(commit string) string { return commit[:min(len(commit), 12)] }

// versionInfo is what "tandem version" shows.
type versionInfo struct {
	Version  string `json:"version"`
	Release  string `json:"release"`
	Commit   string `json:"commit"`   // empty: not known
	Modified bool   `json:"modified"` // there were changes that the commit does not have
	Level    int    `json:"level"`    // feature level that the program knows
	Go       string `json:"go"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
}

func newVersionInfo(commit string, modified bool) versionInfo {
	return versionInfo{
		Version: versionOf(commit, modified), Release: release, Commit: commit, Modified: modified, Level: schema.Known,
		Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH,
	}
}

func (v versionInfo) String() string {
	from := "commit not known"
	switch {
	case v.Modified:
		from = "commit " + shortCommit(v.Commit) + " with changes"
	case v.Commit != "":
		from = "commit " + shortCommit(v.Commit)
	}
	return fmt.Sprintf("tandem %s (%s, feature level %d, %s, %s/%s)", v.Release, from, v.Level, v.Go, v.OS, v.Arch)
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the version of this program, its commit and its feature level",
		Args:  want(),
		RunE: a.run(func(context.Context, []string) error {
			v := newVersionInfo(source())
			return a.showValue(v, text(v.String()))
		}),
	}
}
