// Package say makes the text that people read of events, reasons and refusals. The state machine keeps codes and arguments only; whoever
// shows them has the text made here: the API in each of its answers, the CLI once more with its own commands as advice.
//
// Types to know: Face (for whom a text is), and the two tables, Reason's in reasons.go and Event's in events.go: a code, its text as a
// text/template over the arguments, and what to do next on the command line.
//
// Invariants: every code has a text; the same reason gives the same text on each machine; nothing that is decided depends on a text; a
// text of the time before codes, which a row may store, is shown as it is when the row has no code.
//
// It is not: translations (a face that wants another language has the codes), nor a place for words of engines and searches, which come
// as arguments.
package say
