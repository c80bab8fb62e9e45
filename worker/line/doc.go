// Package line is the line between an agent and the process of an engine, which inherits its end: an unnamed socket. There is
// no path that another could open, no folder that the engine has to reach, and the agent knows who calls.
//
// Types to know: Host, the agent's end, and Line, the engine's. Over it the engine makes two kinds of call, each with a socket
// of its own that it sends along: Dial, a connection that the agent serves as if it had been accepted, and File, which asks for an open file.
//
// Invariants:
//   - What an engine may open is decided by the agent, which opens it: the engine needs no right to any path.
//   - A process holds at most maxCalls connections and requests at a time; more are closed at once.
//   - Descriptors that come unasked are closed.
//   - The end of the process ends the line, its connections and its requests, and the other way round.
//
// It is not the protocol that is spoken over the connections (EngineHostService).
package line
