// Makes a session and prints its id; when it hears that the server it talks to is gone, makes one on the next and prints that.
'use strict';
const readline = require('node:readline');
const { MemoryGraphClient } = require('@llm-dev-ops/llm-memory-graph-client');

const client = new MemoryGraphClient({ address: process.argv[2] });

// The client repeats nothing: a call that meets the moment of the change fails with UNAVAILABLE (14), and the caller repeats it.
async function persistently(call) {
  for (;;) {
    try {
      return await call();
    } catch (err) {
      if (err.code !== 14) throw err;
    }
  }
}

async function main() {
  console.log((await client.createSession()).id);
  for await (const line of readline.createInterface({ input: process.stdin })) {
    if (line === 'killed') break;
  }
  console.log((await persistently(() => client.createSession())).id);
  client.close();
}

main().then(() => process.exit(0), (err) => {
  console.error(err);
  process.exit(1);
});
