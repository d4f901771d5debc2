// Adds one prompt after the other until it is told to end. Prints a line for each: `made ID`, or `failed CODE`.
'use strict';
const { MemoryGraphClient } = require('@llm-dev-ops/llm-memory-graph-client');

const client = new MemoryGraphClient({ address: process.argv[2] });
let ended = false;
process.stdin.on('data', () => {}).on('end', () => { ended = true; });

async function main() {
  const session = await client.createSession();
  console.log('session ' + session.id);
  for (let number = 0; !ended; number++) {
    try {
      console.log('made ' + (await client.addPrompt({ sessionId: session.id, content: 'prompt ' + number })).id);
    } catch (err) {
      console.log('failed ' + err.code);
    }
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  client.close();
}

main().then(() => process.exit(0), (err) => {
  console.error(err);
  process.exit(1);
});
