// Makes every call of the published client as its README documents it and says `ok <call>` for each. What differs from the
// README is told where it does.
'use strict';
const assert = require('node:assert');
const { MemoryGraphClient, NodeType, EdgeType, EdgeDirection, EventType } = require('@llm-dev-ops/llm-memory-graph-client');

const client = new MemoryGraphClient({ address: process.argv[2] });
const ok = (call) => console.log('ok ' + call);
const recent = (date) => assert.ok(Math.abs(Date.now() - new Date(date).getTime()) < 600000, `time ${date}`);

// refused wants a call to fail with a code of gRPC.
async function refused(code, call) {
  await assert.rejects(call, (err) => {
    assert.strictEqual(err.code, code, err.message);
    assert.ok(err.details, 'an error says what is wrong');
    return true;
  });
}
const INVALID_ARGUMENT = 3, NOT_FOUND = 5, ALREADY_EXISTS = 6, FAILED_PRECONDITION = 9;

// collect reads a stream of the client until it has enough, or to its end.
function collect(open, enough = Infinity) {
  return new Promise((resolve, reject) => {
    const items = [];
    open({
      onData: (item) => { if (items.push(item) === enough) resolve(items); },
      onError: reject,
      onEnd: () => resolve(items),
    });
  });
}

async function sessions() {
  const session = await client.createSession({ metadata: { user: 'ada', lang: 'de' } });
  assert.match(session.id, /^[0-9a-f-]{36}$/);
  assert.deepStrictEqual(session.metadata, { user: 'ada', lang: 'de' });
  assert.strictEqual(session.isActive, true);
  recent(session.createdAt);
  recent(session.updatedAt);
  ok('createSession');
  assert.deepStrictEqual(await client.getSession(session.id), session);
  await refused(NOT_FOUND, client.getSession('00000000-0000-4000-8000-000000000000'));
  await refused(INVALID_ARGUMENT, client.getSession('no uuid'));
  ok('getSession');
  const list = await client.listSessions(10, 0);
  assert.strictEqual(list.totalCount, 1);
  assert.strictEqual(list.sessions[0].id, session.id);
  ok('listSessions');
  return session.id;
}

async function conversation(sessionId) {
  const prompt = await client.addPrompt({
    sessionId, content: 'What is the capital of France?',
    metadata: { model: 'gpt-4', temperature: 0.7, maxTokens: 100, toolsAvailable: ['search'], custom: { k: 'v' } },
  });
  assert.strictEqual(prompt.sessionId, sessionId);
  assert.strictEqual(prompt.metadata.temperature, 0.7);
  assert.strictEqual(prompt.metadata.maxTokens, 100);
  assert.deepStrictEqual(prompt.metadata.toolsAvailable, ['search']);
  await refused(INVALID_ARGUMENT, client.addPrompt({ sessionId, content: '' }));
  ok('addPrompt');
  const response = await client.addResponse({
    promptId: prompt.id, content: 'Paris', tokenUsage: { promptTokens: 15, completionTokens: 25, totalTokens: 40 },
    metadata: { model: 'gpt-4', finishReason: 'stop', latencyMs: 1234, custom: {} },
  });
  assert.strictEqual(response.promptId, prompt.id);
  assert.deepStrictEqual(response.tokenUsage, { promptTokens: '15', completionTokens: '25', totalTokens: '40' });
  assert.strictEqual(response.metadata.finishReason, 'stop');
  await refused(NOT_FOUND, client.addResponse({ promptId: 'p404', content: 'x', tokenUsage: {} }));
  ok('addResponse');
  const tool = await client.addToolInvocation({
    toolInvocation: {
      id: 'tool-1', responseId: response.id, toolName: 'search', parameters: '{"q":"Paris"}', status: 'success', result: '{"n":1}',
      durationMs: 450, retryCount: 1, timestamp: new Date(), metadata: { region: 'eu' },
    },
  });
  assert.strictEqual(tool.id, 'tool-1');
  assert.strictEqual(tool.responseId, response.id);
  assert.strictEqual(tool.toolName, 'search');
  assert.strictEqual(tool.durationMs, '450');
  assert.strictEqual(tool.retryCount, 1);
  ok('addToolInvocation');
  return { prompt, response };
}

async function templates(sessionId) {
  const template = await client.createTemplate({
    template: {
      id: 'template-1', name: 'greeting', templateText: 'Hey {{name}}, welcome to {{place}}', version: '1.0.0', usageCount: 0, createdAt: new Date(),
      variables: [
        { name: 'name', typeHint: 'string', required: true, description: 'who', validationPattern: '^[A-Z]' },
        { name: 'place', typeHint: 'string', required: false, defaultValue: 'Paris', description: 'where' },
      ],
      metadata: {},
    },
  });
  assert.strictEqual(template.templateText, 'Hey {{name}}, welcome to {{place}}');
  assert.strictEqual(template.variables[1].defaultValue, 'Paris');
  ok('createTemplate');
  const prompt = await client.instantiateTemplate({ templateId: template.id, variableValues: { name: 'Alice' }, sessionId });
  assert.strictEqual(prompt.content, 'Hey Alice, welcome to Paris');
  await refused(INVALID_ARGUMENT, client.instantiateTemplate({ templateId: template.id, variableValues: { name: 'bob' }, sessionId }));
  ok('instantiateTemplate');
}

async function nodes(sessionId, prompt) {
  // The README says `data: {…}`, which has no type on the wire: the field of the type takes its place.
  const agent = await client.createNode({
    id: 'node-123', type: NodeType.AGENT, createdAt: new Date(),
    agent: { name: 'Assistant', role: 'helper', capabilities: ['search', 'summarize'], status: 'active', createdAt: new Date(), metadata: {} },
  });
  assert.strictEqual(agent.id, 'node-123');
  assert.strictEqual(agent.type, 'NODE_TYPE_AGENT');
  assert.deepStrictEqual(agent.data.capabilities, ['search', 'summarize']);
  recent(agent.createdAt);
  await refused(INVALID_ARGUMENT, client.createNode({ id: 'node-124', type: NodeType.AGENT, createdAt: new Date(), data: { name: 'x' } }));
  await refused(ALREADY_EXISTS, client.createNode({ id: 'node-123', agent: { name: 'again' } }));
  ok('createNode');
  const got = await client.getNode(prompt.id);
  assert.strictEqual(got.data.content, prompt.content);
  assert.strictEqual(got.data.sessionId, sessionId);
  ok('getNode');
  const changed = await client.updateNode({ id: prompt.id, prompt: { sessionId, content: 'What is the capital of Spain?' } });
  assert.strictEqual(changed.data.content, 'What is the capital of Spain?');
  ok('updateNode');
  const batch = await client.batchCreateNodes([
    { id: 'b1', prompt: { sessionId, content: 'one' } }, { id: 'b2', prompt: { sessionId, content: 'two' } },
  ]);
  assert.strictEqual(batch.createdCount, 2);
  assert.deepStrictEqual(batch.nodes.map((n) => n.id), ['b1', 'b2']);
  ok('batchCreateNodes');
  assert.deepStrictEqual((await client.batchGetNodes(['b2', 'b1'])).map((n) => n.data.content), ['two', 'one']);
  ok('batchGetNodes');
  await client.deleteNode('b2');
  await refused(NOT_FOUND, client.getNode('b2'));
  ok('deleteNode');
}

async function edges(prompt, response) {
  const edge = await client.createEdge({
    id: 'edge-123', fromNodeId: prompt.id, toNodeId: 'node-123', type: EdgeType.HANDLED_BY, createdAt: new Date(),
    properties: { weight: '1.0', confidence: '0.95' },
  });
  assert.strictEqual(edge.fromNodeId, prompt.id);
  assert.strictEqual(edge.toNodeId, 'node-123');
  assert.strictEqual(edge.type, 'EDGE_TYPE_HANDLED_BY');
  assert.deepStrictEqual(edge.properties, { weight: '1.0', confidence: '0.95' });
  recent(edge.createdAt);
  await refused(INVALID_ARGUMENT, client.createEdge({ fromNodeId: prompt.id, toNodeId: response.id, type: EdgeType.RESPONDS_TO, properties: {} }));
  ok('createEdge');
  const incoming = await client.getEdges(prompt.id, EdgeDirection.INCOMING, EdgeType.RESPONDS_TO);
  assert.deepStrictEqual(incoming.map((e) => e.fromNodeId), [response.id]);
  const outgoing = await client.getEdges(prompt.id);
  assert.ok(outgoing.length >= 2);
  ok('getEdges');
  await client.deleteEdge('edge-123');
  await refused(NOT_FOUND, client.deleteEdge('edge-123'));
  await refused(FAILED_PRECONDITION, client.deleteEdge(incoming[0].id));
  ok('deleteEdge');
}

async function queries(sessionId) {
  const page = await client.query({ sessionId, nodeType: NodeType.PROMPT, limit: 2, after: new Date(0), filters: { model: 'unknown' } });
  assert.strictEqual(page.nodes.length, 2);
  assert.strictEqual(page.totalCount, 3);
  assert.strictEqual((await client.query()).totalCount, 8);
  await refused(INVALID_ARGUMENT, client.query({ limit: -1 }));
  ok('query');
  const all = await collect((on) => client.streamQuery({ sessionId }, on));
  assert.strictEqual(all.length, 6);
  assert.strictEqual(all[0].data.content, 'one');
  await assert.rejects(collect((on) => client.streamQuery({ limit: -1 }, on)), { code: INVALID_ARGUMENT });
  ok('streamQuery');
}

async function streams(sessionId) {
  const told = collect((on) => client.streamEvents({ sessionId, eventTypes: [EventType.NODE_CREATED], ...on }), 1);
  const followed = collect((on) => client.subscribeToSession({ sessionId, ...on }));
  // A stream begins with what happens after the server has it, which the client does not tell: write until it was heard.
  let heard = false;
  Promise.all([told]).then(() => { heard = true; }, () => { heard = true; });
  while (!heard) {
    await client.addPrompt({ sessionId, content: 'is anybody there?' });
    await new Promise((go) => setTimeout(go, 50));
  }
  const [event] = await told;
  assert.strictEqual(event.type, 'EVENT_TYPE_NODE_CREATED');
  assert.strictEqual(JSON.parse(event.payload).session_id, sessionId);
  recent(event.timestamp);
  ok('streamEvents');
  await client.deleteSession(sessionId);
  await refused(NOT_FOUND, client.getSession(sessionId));
  ok('deleteSession');
  const last = (await followed).pop();
  assert.strictEqual(last.sessionId, sessionId);
  assert.strictEqual(last.event.type, 'EVENT_TYPE_SESSION_CLOSED');
  await assert.rejects(collect((on) => client.subscribeToSession({ sessionId, ...on })), { code: NOT_FOUND });
  ok('subscribeToSession');
}

async function operations() {
  const health = await client.health();
  assert.match(String(health.status), /SERVING$/);
  assert.ok(health.version && health.uptimeSeconds >= 0);
  ok('health');
  const metrics = await client.getMetrics();
  assert.strictEqual(metrics.totalSessions, 1);
  assert.strictEqual(metrics.totalNodes, 8);
  assert.ok(metrics.totalEdges > 5);
  ok('getMetrics');
}

async function main() {
  assert.ok(client.isConnected());
  const sessionId = await sessions();
  const { prompt, response } = await conversation(sessionId);
  await templates(sessionId);
  await nodes(sessionId, prompt);
  await edges(prompt, response);
  await queries(sessionId);
  await operations();
  await streams(sessionId);
  client.close();
  assert.ok(!client.isConnected());
}

main().then(() => process.exit(0), (err) => {
  console.error(err);
  process.exit(1);
});
