package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"golang.org/x/term"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/printable"
	"tandem.dev/worker/child"
)

func main() {
	err := child.KeepInherited()
	if err != nil {
		fmt.Fprintln(os.Stderr, "tandem:", err)
		os.Exit(exitError)
	}
	getenv, err := environment(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "tandem:", err)
		os.Exit(exitError)
	}
	ctx, stop := notify(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait for anything
	a := &app{
		name: printable.Quoted(os.Args[0]), in: os.Stdin, out: os.Stdout, err: os.Stderr,
		getenv:   getenv,
		terminal: term.IsTerminal(int(os.Stdout.Fd())),
		screen:   func() int { n, _, _ := term.GetSize(int(os.Stdout.Fd())); return n }, // 0 where it fails
		asks:     term.IsTerminal(int(os.Stdin.Fd())),
		patience: client.DefaultPatience(),
	}
	code := a.execute(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// notify is signal.NotifyContext but for signals that are ignored, as nohup and the background of a script have them: they stay so.
func notify(ctx context.Context, signals ...os.Signal) (context.Context, context.CancelFunc) {
	signals = slices.DeleteFunc(signals, signal.Ignored)
	if len(signals) == 0 { // to NotifyContext that would be all there are
		return context.WithCancel(ctx)
	}
	return signal.NotifyContext(ctx, signals...)
}
