// Package npm runs the published npm client, as npm installs it, against a real server.
//
// Its test installs `@llm-dev-ops/llm-memory-graph-client` 0.1.0, lets the program repair it, and runs programs in JavaScript that
// make every call the way the client documents it. It promises that what COMPATIBILITY.md section 9 says of the client was seen to
// happen. It needs node, npm and a way to npm's registry, and skips, saying so, where one is lacking.
package npm
