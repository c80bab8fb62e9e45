// Package forecast looks ahead: when will what waits begin, and what would have it begin now?
//
// It is pure. It carries out the plans of scheduler.Schedule on a copy of the snapshot, in virtual time, once as if all work ended as
// early as it is predicted to, and once as late. Types to know: Outlook (what is said of one request) and Change (what would have it
// begin at once).
//
// Invariants:
//   - The decisions are those of Schedule, so a forecast and what then happens differ only by what nobody could know: when work ends,
//     what is submitted meanwhile, what fails.
//   - What depends on work of which nobody knows how long it takes has no time; it is never guessed.
//   - It ends: passes are bounded, and what has not begun by then has no time either.
//
// It is not: a promise, or a decision. Nothing that it says changes who gets what.
package forecast
