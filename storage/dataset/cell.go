package dataset

import (
	"math"
	"strconv"
	"strings"
)

// cellKind is what a cell holds.
type cellKind int

const (
	kindMissing cellKind = iota
	kindInt
	kindFloat
	kindRange // a number, but not finite as float32
	kindText
)

// number reads a cell whose white space is trimmed.
func number(cell string) (float32, cellKind) {
	if isMissing(cell) {
		return 0, kindMissing
	}
	// Go also reads 0x10 and 1_000, which no CSV file means as numbers.
	if strings.ContainsAny(cell, "xX_") {
		return 0, kindText
	}
	f, err := strconv.ParseFloat(cell, 32)
	switch {
	case err == nil && math.IsInf(f, 0), err != nil && math.IsInf(f, 0):
		return 0, kindRange
	case err != nil:
		return 0, kindText
	case f == math.Trunc(f) && !strings.ContainsAny(cell, ".eE"):
		return float32(f), kindInt
	}
	return float32(f), kindFloat
}

// isMissing knows the usual ways to write that there is no value.
func isMissing(cell string) bool {
	switch len(cell) {
	case 0:
		return true
	case 1:
		return cell == "?"
	case 2, 3, 4:
		switch strings.ToLower(cell) {
		case "na", "n/a", "nan", "+nan", "-nan", "null":
			return true
		}
	}
	return false
}

// wholeNumber writes a label such as "3.0" or "+3" as "3", if it is a whole number.
func wholeNumber(s string) (string, bool) {
	if _, kind := number(s); kind != kindInt && kind != kindFloat {
		return s, false
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return strconv.FormatInt(n, 10), true
	}
	const exact = 1 << 53 // float64 holds every whole number below
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) >= exact {
		return s, false
	}
	return strconv.FormatInt(int64(f), 10), true
}

// isCode says that a label such as 007 is not a number for whoever wrote it: another one than 7.
func isCode(s string) bool {
	digits := strings.TrimLeft(s, "+-")
	return len(digits) > 1 && digits[0] == '0' && strings.Trim(digits, "0123456789") == ""
}
