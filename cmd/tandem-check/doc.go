// Command tandem-check holds the house to those of its rules that no linter knows.
//
//	tandem-check house [folder]      sizes, names, cgo, documentation, leftovers
//	tandem-check generated NEW OLD   generated code in two trees is the same
//	tandem-check tests               reads `go test -json`, shows failures and skips, ends with the counts
//
// Import rules, purity and style are golangci-lint's (.golangci.yml).
package main
