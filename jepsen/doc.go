// Package jepsen answers how we know that the promises are kept: it runs the conformance table of jepsen/conformance against real
// server processes, jepsen/hostile sends them what nobody means well, and jepsen/crash kills them under load. It uses the
// contract and the program, and holds nothing that a server imports.
package jepsen
