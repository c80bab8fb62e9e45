package spec

import (
	"errors"
	"fmt"
	"io"

	"github.com/goccy/go-yaml/scanner"
	"github.com/goccy/go-yaml/token"
)

const (
	// maxDepth bounds how deep a spec nests: the parser takes memory by the square of it.
	maxDepth = 64
	// maxIndent bounds the first column of a line, and with it how deep lines nest that are written below each other.
	maxIndent = 256
	// maxTokens bounds the words and marks of a spec. Each takes some 300 bytes, and as much again when it is parsed.
	maxTokens = 300_000
)

// bounded refuses text that would take the parser more memory than any spec does. It reads token by token and stops at the first that is
// too much.
func bounded(text string) error {
	var s scanner.Scanner
	s.Init(text)
	var b bounds
	for {
		tokens, err := s.Scan()
		if errors.Is(err, io.EOF) {
			return nil
		}
		for _, t := range tokens {
			if err := b.take(t); err != nil {
				return fmt.Errorf("line %d, column %d: %w", t.Position.Line, t.Position.Column, err)
			}
		}
	}
}

// bounds counts what is open at a token.
type bounds struct {
	tokens int
	flow   int // brackets that are open
	chain  int // marks in this line, or since the last comma or bracket, each of which holds the next
	line   int
}

func (b *bounds) take(t *token.Token) error {
	if b.tokens++; b.tokens > maxTokens {
		return fmt.Errorf("the spec has more than %d words and marks; a spec of a sweep draws values from ranges instead of listing them", maxTokens)
	}
	first := t.Position.Line != b.line
	if first {
		b.line, b.chain = t.Position.Line, 0
	}
	switch t.Type {
	case token.SequenceStartType, token.MappingStartType:
		b.flow++
		b.chain = 0
	case token.SequenceEndType, token.MappingEndType:
		b.flow--
		b.chain = 0
	case token.CollectEntryType:
		b.chain = 0
	case token.SequenceEntryType, token.MappingKeyType, token.MappingValueType, token.AnchorType, token.TagType:
		b.chain++
	}
	if b.flow > maxDepth || b.chain > maxDepth || first && b.flow == 0 && t.Position.Column > maxIndent {
		return fmt.Errorf("the spec is nested too deep; at most %d levels are allowed", maxDepth)
	}
	return nil
}
