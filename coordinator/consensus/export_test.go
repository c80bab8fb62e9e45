package consensus

// Hangs is hangs, for tests.
var Hangs = hangs
