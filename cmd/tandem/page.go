package main

import (
	"math"
	"slices"
)

const (
	// pageRows is how many rows of a list are asked for at once.
	pageRows = 1000
	// shownRows is how many rows of a long list people see without --limit.
	shownRows = 100
)

// rowLimit is how many rows a list shows: those of --limit; without it, as many as people read, and all for a program.
func (a *app) rowLimit(flag int32) int32 {
	switch {
	case flag > 0:
		return flag
	case a.people():
		return shownRows
	}
	return math.MaxInt32
}

// pages asks page by page for rows, at most limit of them. It returns the pages as they came, and the token for what follows.
func pages[T any](limit int32, ask func(limit int32, token string) (rows []T, next string, err error)) (all [][]T, next string, err error) {
	for {
		rows, token, err := ask(min(limit, pageRows), next)
		if err != nil {
			return nil, "", err
		}
		all, next, limit = append(all, rows), token, limit-int32(len(rows)) //nolint:gosec // at most limit
		if next == "" || limit <= 0 {
			return all, next, nil
		}
	}
}

// oldestFirst puts pages together of which each is older than the one before.
func oldestFirst[T any](all [][]T) []T {
	slices.Reverse(all)
	return slices.Concat(all...)
}
