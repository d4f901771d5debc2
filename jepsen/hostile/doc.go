// Package hostile sends messages that nobody means well to a running server, and judges what becomes of them.
//
// Everything comes from a seed and a number, so that one message can be sent again: random and spoiled messages, bytes that are
// no message, metadata that is none. Each has to be answered with a code that says what is wrong and names the field; what is
// refused must have changed nothing; and afterwards the server must hold no more goroutines and memory than before. It knows
// the contract and the metrics port of the server, and nothing of how it is made.
package hostile
