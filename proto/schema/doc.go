// Package schema reads what the messages of tandem.v1 say of themselves: who may call a procedure, which commands may be
// proposed twice, which messages are rows of the state (option.proto). It also finds what a message holds that this
// program does not know.
//
// A fact about a message stands at the message, and everything that needs it asks here: no list of messages is kept elsewhere.
//
// It is not about what a value means: that is for the API and the state machine.
package schema
