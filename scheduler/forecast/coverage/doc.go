// Package coverage measures how often the range of a forecast holds what then happens.
//
// It runs traces through scheduler/sim, asks scheduler/forecast for each job that arrives and does not begin at once, and compares what was
// said with what came. Type to know: Count; function: Of.
//
// The forecast is told no more than a coordinator knows: running work ends when its speed says, which is off by some; of some work nobody
// knows when it ends; how long a job that waits will take is known from past jobs of its name, or else of all. It knows of no failure and
// of no job that comes later.
package coverage
