package torchscript

import (
	"archive/zip"
	"path"
	"regexp"
	"strings"
)

// Names of records, as torch.jit.save writes them. libtorch finds a record whatever the case of its name is, and code by the name of its
// class alone, so that a name of another form is one that is read and not looked at.
var (
	codeRE   = regexp.MustCompile(`^code/(?:[A-Za-z0-9_]+/)*[A-Za-z0-9_]+\.py(?:\.debug_pkl)?$`)
	recordRE = regexp.MustCompile(`^[a-z_]+/[0-9]+$|^[a-z_]+(?:\.pkl|\.json)?$|^\.[a-z_]+(?:/[a-z_]+)?$`)
)

// checkName says what is wrong with the name of a record, whose folder was cut off; empty: nothing.
func checkName(f *zip.File, name string) string {
	switch {
	case path.Clean(f.Name) != f.Name || strings.ContainsAny(f.Name, "\\\x00") || strings.HasPrefix(f.Name, "."):
		return "is not in the one folder that a model file has"
	case codeRE.MatchString(name), recordRE.MatchString(name), strings.HasPrefix(name, "extra/"): // there users put what they like; nothing reads it
		return ""
	}
	return "has a name that torch.jit.save does not write"
}
