// Command tandem-engine does the work of one rank or one replica, in a process of its own: the only program that is linked to libtorch.
// Its agent starts it.
//
//	tandem-engine run --engine <id>
//	tandem-engine devices
package main

import (
	"os"

	_ "tandem.dev/worker/crash" // who is brought down by a signal dies of it, and says no more
	"tandem.dev/worker/engine"
)

func main() { os.Exit(engine.Main(os.Args[1:], os.Stdout, os.Stderr)) }
