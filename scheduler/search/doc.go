// Package search decides which points of a space of hyper-parameters are tried, how far each trial trains, and when the
// search is over.
//
// The types to know are Config (space, method, limits, seed), Event (what happened to the trials, in an order that the caller
// keeps), Decision (what to do about it, and why) and Searcher, which turns one into the other: Step takes the next event and
// returns decisions. Method is what each way of searching has to say. Space.Validate, Space.Size and Config.Complete are for those who take a
// config from a user. Replay decides again on recorded curves, Simulate runs a search in virtual time, Importances ranks the hyper-parameters.
//
// Invariants:
//   - The decisions follow from the config and the events alone: a Searcher that is made anew and given the same events gives
//     the same decisions. That is how a search survives its leader: nothing but the events has to be kept.
//   - Trials have the numbers 1, 2, 3 ... in the order they are made.
//   - At most Config.MaxConcurrent trials train at a time, at most Config.MaxTrials are made.
//   - Every trial that was made is told to the method once it has ended, however it ended; a search always comes to Finish.
//   - Training is measured as a share of the whole, above 0 and up to 1; what a step or an epoch is the caller knows.
//
// It is not: a driver. It starts nothing, knows no clock and no cluster; limits of time and money are told as an event.
package search
