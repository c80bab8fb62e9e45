// Package agent runs on each worker node: it keeps there the engines that the coordinator wants, and nothing else.
//
// Types to know: Config and Agent (New, Run); reconcile, the pure decider that compares the engines wanted with the
// engines there are; supervisor, which carries out what it decides; host, the service that engines call on the
// line that each inherits; reporter, the queue of reports that outlives connections; session, the stream of desired states.
//
// Invariants:
//   - Only a desired state that was newly received stops an engine. Losing a leader, a connection or the store never does.
//   - A desired state with a smaller index than one seen before is ignored.
//   - One process for each task, for its whole life: a task (id and generation) whose process has ended is not started
//     again, not even by the next agent on this node, except for replicas, which have no state.
//   - A slot goes to the next engine only when the process that had it is gone.
//   - No engine outlives its agent: the kernel kills it when the thread that started it dies, and an agent kills what
//     a former one left behind before it starts anything.
//   - Reports reach the coordinator in order, each at least once; one that is refused kills its engine.
//   - Secrets reach an engine over the line that it inherits, never by its arguments or environment, and only once it is seen to be confined.
//   - A process is heard for its own engine only, and gets no file opened that is not its task's.
//
// It is not the place of training or serving (the engine's), nor of placement (the coordinator's).
package agent
