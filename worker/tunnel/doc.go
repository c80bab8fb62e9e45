// Package tunnel carries what the ranks of a process group say to ranks of other hosts, through the agents of the two: each rank listens
// on an address of loopback, and the agents connect their TLS ports with each other. So values cross the network encrypted, between nodes
// that have proved who they are, and no port but that of the agent has to be open.
//
// Types to know: Member (a rank of this node, as its agent knows it), Admit (who may connect with whom; pure), Tunnel (both ends).
//
// Invariants:
//   - A stream is let in for a node that is a peer of the group its member was told to be in, of that generation, and to an address that
//     the member's own sockets listen on. A certificate of the cluster alone opens nothing.
//   - A stream goes only to the node that has to be at its other end: its certificate is checked for that one name.
//   - Bytes are never looked at. When one end of a stream is closed, so is the other, at once.
//
// What it is not: a way between ranks of one host, which share memory, or loopback; a network for anything but process groups; and no help
// against other users of the machine, who can connect with loopback as they always could.
package tunnel
