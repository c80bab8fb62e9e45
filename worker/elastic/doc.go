// Package elastic takes one member of an allocation from process group to process group.
//
// Machine decides and is pure: events in, actions out. It knows which group was committed, which one this process is in,
// and what has to be said about it. Driver carries the actions out: one goroutine does the work (prepare, join, train),
// another takes orders, and may end what the first waits for. Work is what is driven: package worker/engine
// stands behind it with libtorch, the tests with a model of it.
//
// Invariants: a group is joined only after it was ordered, each generation at most once, and generations only grow. A
// member that was told that its group is broken, or noticed it, lets go of it and says so, once for each generation that
// it had part in; it joins the next one with the state that it has. A member that is not in the next group ends when the
// others have formed that, for until then its state may be needed. Nothing here decides who is in a group: the
// coordinator does, and has committed it before anybody hears of it.
package elastic
