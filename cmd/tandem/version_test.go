package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"testing"

	"tandem.dev/proto/schema"
)

func TestVersion(t *testing.T) {
	const commit = "0123456789abcdef0123456789abcdef01234567"
	where := fmt.Sprintf("feature level %d, %s, %s/%s)", schema.Known, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	for _, c := range []struct {
		commit        string
		modified      bool
		version, text string
	}{
		{"", false, release, "tandem " + release + " (commit not known, " + where},
		{commit, false, release + "+0123456789ab", "tandem " + release + " (commit 0123456789ab, " + where},
		{commit, true, release + "+0123456789ab.dirty", "tandem " + release + " (commit 0123456789ab with changes, " + where},
	} {
		v := newVersionInfo(c.commit, c.modified)
		if v.Version != c.version || v.String() != c.text || v.Commit != c.commit {
			t.Errorf("%q %q, want %q %q", v.Version, v, c.version, c.text)
		}
	}
	b, err := json.Marshal(newVersionInfo(commit, false))
	want := fmt.Sprintf(`{"version":"%s+0123456789ab","release":"%s","commit":"%s","modified":false,"level":%d,"go":"%s","os":"%s","arch":"%s"}`,
		release, release, commit, schema.Known, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	if err != nil || string(b) != want {
		t.Errorf("%s, %v, want %s", b, err, want)
	}
}
