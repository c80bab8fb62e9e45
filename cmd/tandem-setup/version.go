package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
)

// Version is libtorch's own, from its headers.
type Version struct {
	Major, Minor, Patch int
}

func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }

// versionHeaders are the places of the version's #defines below an include folder; they moved in the 2.x series.
var versionHeaders = []string{
	"torch/csrc/api/include/torch/version.h",
	"torch/headeronly/version.h",
	"torch/version.h",
}

var versionDefine = regexp.MustCompile(`(?m)^\s*#\s*define\s+TORCH_VERSION_(MAJOR|MINOR|PATCH)\s+(\d+)`)

// parseVersion reads the three #defines of libtorch's version.h; ok is false when one is missing.
func parseVersion(header string) (v Version, ok bool) {
	seen := map[string]int{}
	for _, m := range versionDefine.FindAllStringSubmatch(header, -1) {
		n, err := strconv.Atoi(m[2])
		if err != nil {
			return Version{}, false
		}
		seen[m[1]] = n
	}
	return Version{seen["MAJOR"], seen["MINOR"], seen["PATCH"]}, len(seen) == 3
}

// readVersion finds the version in the first of versionHeaders that has it.
func readVersion(include string) (Version, error) {
	for _, h := range versionHeaders {
		text, err := os.ReadFile(filepath.Join(include, h))
		if err != nil {
			continue
		}
		if v, ok := parseVersion(string(text)); ok {
			return v, nil
		}
	}
	return Version{}, fmt.Errorf("no libtorch version in %s (looked in %v)", include, versionHeaders)
}

var requiredStd = regexp.MustCompile(`#\s*error\s+"?C\+\+(\d\d)\b`)

// parseStd reads the C++ standard that libtorch's own #error asks for. gotch needs 17 at least.
func parseStd(header string) int {
	std := 17
	for _, m := range requiredStd.FindAllStringSubmatch(header, -1) {
		if n, err := strconv.Atoi(m[1]); err == nil && n > std && n < 90 {
			std = n
		}
	}
	return std
}

// readStd is parseStd of the header that every C++ user of libtorch includes.
func readStd(include string) int {
	text, err := os.ReadFile(filepath.Join(include, "torch/csrc/api/include/torch/all.h"))
	if err != nil {
		return parseStd("")
	}
	return parseStd(string(text))
}
