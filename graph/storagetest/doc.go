// Package storagetest says what a storage of the graph promises, as claims that any implementation can be run against.
//
// [Run] states them one by one. [Play] draws changes at random and compares every answer with a model that is a few maps
// and does everything the slow way. Neither knows how a storage keeps its rows; a storage only lists them, so that
// leftovers are found.
package storagetest
