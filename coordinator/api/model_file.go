package api

import (
	"context"
	"errors"
	"fmt"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/semaphore"

	"tandem.dev/coordinator/spec"
	"tandem.dev/storage"
	"tandem.dev/storage/layout"
	"tandem.dev/storage/torchscript"
)

// checkModelFile looks at a user's own model before a job is made of it: a file that an engine would refuse takes no slot.
func (a jobs) checkModelFile(ctx context.Context, sha string) error {
	const path = "model.torchscript.file" // users know no other; the CLI puts the hash in
	store, err := a.deps.Store()
	if err != nil {
		return err
	}
	if a.files.passed.Contains(sha) {
		return nil
	}
	if err := spend(ctx, fileWork); err != nil {
		return err
	}
	leave, err := a.files.enter(ctx, From(ctx).Token)
	if err != nil {
		return err
	}
	defer leave()
	info, err := store.Head(ctx, layout.Artifact(sha))
	if errors.Is(err, storage.ErrNotFound) {
		return spec.Wrong(path, "the file of SHA-256 "+sha+", which artifact names, was not uploaded")
	}
	if err == nil {
		_, err = torchscript.Inspect(storage.NewBlocks(ctx, store, layout.Artifact(sha), info.Size), info.Size)
	}
	if errors.Is(err, torchscript.ErrFormat) || errors.Is(err, torchscript.ErrRefused) {
		return spec.Wrong(path, err.Error())
	}
	if err != nil {
		return fmt.Errorf("look at the model file: %w", err)
	}
	a.files.passed.Add(sha, struct{}{})
	return nil
}

const (
	// fileWork is how many other calls a look at a model file is worth: one that is made for it takes seconds.
	fileWork = 50
	// maxPassed is how many files are not looked at again, for they passed: jobs of a sweep, trainings that are repeated.
	maxPassed = 1000
)

// modelFiles lets one file be looked at at a time, for a look may take 100 MiB, and of each caller one wait for that: nobody waits behind
// all that another one asked for.
type modelFiles struct {
	one    *semaphore.Weighted
	own    sync.Map                     // semaphores by token
	passed *lru.Cache[string, struct{}] // by SHA-256
}

func newModelFiles() (*modelFiles, error) {
	passed, err := lru.New[string, struct{}](maxPassed)
	return &modelFiles{one: semaphore.NewWeighted(1), passed: passed}, err
}

// enter returns when the caller may look at a file, and what ends that.
func (f *modelFiles) enter(ctx context.Context, token string) (leave func(), err error) {
	own, _ := f.own.LoadOrStore(token, semaphore.NewWeighted(1))
	mine := own.(*semaphore.Weighted)
	if err := mine.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	if err := f.one.Acquire(ctx, 1); err != nil {
		mine.Release(1)
		return nil, err
	}
	return func() {
		f.one.Release(1)
		mine.Release(1)
	}, nil
}
