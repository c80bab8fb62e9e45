package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf16"

	"go.yaml.in/yaml/v3"

	"tandem.dev/cmd/tandem/printable"
)

// encodeYAML writes JSON as YAML that every reader takes for the same values, and that a terminal may get: text that a reader of YAML 1.1
// or 1.2 could take for something else stands in quotes, and so does what steers a terminal, escaped. Keys keep their order.
func encodeYAML(text []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	root, err := yamlNode(d)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = fmt.Errorf("there is more than one JSON value")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("encode as YAML: %w", err)
	}
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	e.CompactSeqIndent()
	if err := e.Encode(root); err != nil {
		return nil, fmt.Errorf("encode as YAML: %w", err)
	}
	return escaped(out.Bytes(), func(r rune) string {
		if r > 0xffff {
			return fmt.Sprintf(`\U%08x`, r)
		}
		return fmt.Sprintf(`\u%04x`, r)
	}), nil
}

// yamlNode reads one JSON value.
func yamlNode(d *json.Decoder) (*yaml.Node, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch v := t.(type) {
	case json.Delim:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		if v == '{' {
			n.Kind = yaml.MappingNode
		}
		for d.More() { // in an object a key counts as a value
			child, err := yamlNode(d)
			if err != nil {
				return nil, err
			}
			if v == '{' && len(n.Content)%2 == 0 && child.Style == yaml.LiteralStyle {
				child.Style = yaml.DoubleQuotedStyle // a key has one line
			}
			n.Content = append(n.Content, child)
		}
		if len(n.Content) == 0 {
			n.Style = yaml.FlowStyle
		}
		_, err := d.Token() // the end
		return n, err
	case string:
		return yamlText(v), nil
	case json.Number:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: yamlNumber(string(v))}, nil
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(v)}, nil
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Value: "null"}, nil
}

// plainRE is text that no version of YAML takes for a number, a time, a marker or a special key; unless it is one of notText.
var plainRE = regexp.MustCompile(`^[A-Za-z_/](?:[A-Za-z0-9_./@()+-]|[ ,](?:[A-Za-z0-9_./@()+-]))*$`)

// notText are words that YAML 1.1 or 1.2 takes for true, false or nothing.
var notText = regexp.MustCompile(`^(?i:y|n|yes|no|on|off|true|false|null)$`)

func yamlText(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s, Style: yaml.DoubleQuotedStyle}
	switch {
	case plainRE.MatchString(s) && !notText.MatchString(s):
		n.Style = 0
	case strings.Contains(s, "\n") && !strings.ContainsAny(s[:1], " \n") && !strings.Contains(s, "\t") &&
		strings.IndexFunc(s, printable.Steers) < 0:
		n.Style = yaml.LiteralStyle
	}
	return n
}

// yamlNumber writes an exponent as YAML 1.1 wants it, which takes 1e-05 for text.
func yamlNumber(s string) string {
	mantissa, exponent, ok := strings.Cut(strings.ToLower(s), "e")
	if !ok {
		return s
	}
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	if !strings.HasPrefix(exponent, "-") && !strings.HasPrefix(exponent, "+") {
		exponent = "+" + exponent
	}
	return mantissa + "e" + exponent
}

// jsonEscape is the escape of a character in JSON, which has pairs of UTF-16 for the large ones.
func jsonEscape(r rune) string {
	if r > 0xffff {
		high, low := utf16.EncodeRune(r)
		return fmt.Sprintf(`\u%04x\u%04x`, high, low)
	}
	return fmt.Sprintf(`\u%04x`, r)
}

// escaped replaces what steers a terminal in text in which such characters only stand inside of quoted strings.
func escaped(b []byte, escape func(rune) string) []byte {
	if bytes.IndexFunc(b, printable.Steers) < 0 {
		return b
	}
	var out bytes.Buffer
	for _, r := range string(b) {
		if printable.Steers(r) {
			out.WriteString(escape(r))
		} else {
			out.WriteRune(r)
		}
	}
	return out.Bytes()
}
