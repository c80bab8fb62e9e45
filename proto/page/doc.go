// Package page cuts lists into pages, and makes and reads their tokens.
//
// To know: List, one for each list, with Token and Place; First and Last, what goes into one answer.
//
// Invariants: a token says of which list it is, and what is behind that has the form of a place in it. So no list takes another's token,
// or a text that nobody gave out, for a place; it would leave rows out without a word.
//
// It is not the order of a list, which is its owner's.
package page
