// Package quantity defines flags that count or measure something, with the range that they may have.
//
// To know: Flag defines one. What is outside of its range is an error that says the range.
package quantity
