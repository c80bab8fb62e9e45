package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"tandem.dev/cmd/tandem/client"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait for anything
	a := &app{
		name: os.Args[0], in: os.Stdin, out: os.Stdout, err: os.Stderr,
		getenv:   os.Getenv,
		terminal: term.IsTerminal(int(os.Stdout.Fd())),
		asks:     term.IsTerminal(int(os.Stdin.Fd())),
		patience: client.DefaultPatience(),
	}
	code := a.execute(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}
