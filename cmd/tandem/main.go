package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"tandem.dev/cmd/tandem/client"
)

func main() {
	getenv, err := environment(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "tandem:", err)
		os.Exit(exitError)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait for anything
	a := &app{
		name: os.Args[0], in: os.Stdin, out: os.Stdout, err: os.Stderr,
		getenv:   getenv,
		terminal: term.IsTerminal(int(os.Stdout.Fd())),
		asks:     term.IsTerminal(int(os.Stdin.Fd())),
		patience: client.DefaultPatience(),
	}
	code := a.execute(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}
