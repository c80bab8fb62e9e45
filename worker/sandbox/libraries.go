package sandbox

import (
	"debug/elf"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Libraries lists the folders, besides those of the system, in which the dynamic linker looks for what a program and its libraries are
// linked to: those that are written in them, and those of search, an LD_LIBRARY_PATH.
func Libraries(program, search string) []string {
	var folders, queue []string
	add := func(list, origin string) {
		for _, dir := range filepath.SplitList(list) {
			dir = strings.NewReplacer("$ORIGIN", origin, "${ORIGIN}", origin).Replace(dir)
			if dir != "" && !slices.Contains(folders, filepath.Clean(dir)) {
				folders = append(folders, filepath.Clean(dir))
			}
		}
	}
	add(search, "")
	seen := map[string]bool{}
	for queue = []string{program}; len(queue) > 0; queue = queue[1:] {
		path, err := filepath.EvalSymlinks(queue[0])
		if err != nil || seen[path] {
			continue
		}
		seen[path] = true
		needed, own := linkage(path)
		for _, list := range own {
			add(list, filepath.Dir(path))
		}
		for _, dir := range folders {
			for _, name := range needed {
				queue = append(queue, filepath.Join(dir, name))
			}
		}
	}
	return slices.DeleteFunc(folders, func(dir string) bool {
		info, err := os.Stat(dir)
		return err != nil || !info.IsDir()
	})
}

// linkage is what a program or library needs, and where it says that this lies. What is none needs nothing.
func linkage(path string) (needed, folders []string) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, nil
	}
	defer f.Close()
	needed, _ = f.ImportedLibraries()
	for _, tag := range []elf.DynTag{elf.DT_RPATH, elf.DT_RUNPATH} {
		list, _ := f.DynString(tag)
		folders = append(folders, list...)
	}
	return needed, folders
}
