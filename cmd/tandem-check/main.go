package main

import (
	"fmt"
	"io"
	"os"
)

func main() {
	ok, err := run(os.Args[1:], os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "tandem-check:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

// run carries out one command; ok is false when it found something wrong.
func run(args []string, in io.Reader, out io.Writer) (ok bool, err error) {
	switch {
	case len(args) == 2 && args[0] == "house":
		return report(out, house(os.DirFS(args[1])))
	case len(args) == 1 && args[0] == "house":
		return report(out, house(os.DirFS(".")))
	case len(args) == 3 && args[0] == "generated":
		return report(out, sameGenerated(os.DirFS(args[1]), os.DirFS(args[2])))
	case len(args) == 1 && args[0] == "tests":
		return summarise(in, out)
	case len(args) >= 2 && args[0] == "mutants":
		return mutants(args[1], args[2:], out)
	}
	return false, fmt.Errorf("usage: tandem-check house [folder] | generated NEW OLD | tests | mutants FILE [go test flags]")
}

// report prints problems, one a line.
func report(out io.Writer, found problems) (bool, error) {
	for _, p := range found.list {
		fmt.Fprintln(out, p)
	}
	return len(found.list) == 0, found.err
}
