import assert from 'node:assert/strict';
import {test} from 'node:test';
import {Outbox} from '../../ui/annotator/sync.js';

class Store extends Map {
  getItem(key) { return this.get(key) ?? null; }
  setItem(key, value) { this.set(key, value); }
  removeItem(key) { this.delete(key); }
  key(i) { return [...this.keys()][i]; }
  get length() { return this.size; }
}
// A server that keeps documents by revision, as the real one does.
class Server {
  constructor() { Object.assign(this, {revision: 1, doc: 'first', token: '', down: false, deaf: false, saves: 0}); }
  async save({doc, expected, token}) {
    await null;
    if (this.down) throw new Error('no connection');
    if (this.refuses) return {error: {message: 'no box', remedy: ''}};
    if (expected !== this.revision) return {conflict: {revision: this.revision, doc: this.doc, token: this.token}};
    Object.assign(this, {revision: this.revision + 1, doc, token, saves: this.saves + 1});
    if (this.deaf) throw new Error('the answer is lost');
    return {revision: this.revision};
  }
}
const setting = (server, keep = new Store()) => {
  const told = [], timers = [];
  const outbox = new Outbox({dataset: 'set', keep, send: (payload) => server.save(payload), tell: (state, details) => told.push([state, details]),
    same: (mine, theirs) => mine === theirs.doc, later: (work) => timers.push(work)});
  outbox.opened(7, 1);
  return {outbox, told, timers, keep, states: () => told.map(([state]) => state), rest: async () => { for (let i = 0; i < 20; i += 1) await null; await new Promise((done) => { setImmediate(done); }); }};
};

test('every edit is sent, and the copy in the browser goes once it is saved', async () => {
  const server = new Server(), {outbox, states, keep, rest} = setting(server);
  outbox.put(7, 'one');
  assert.equal(keep.size, 1);
  outbox.put(7, 'two');
  await rest();
  assert.equal(server.doc, 'two');
  assert.equal(states().at(-1), 'saved');
  assert.equal(keep.size, 0);
  assert.ok(!outbox.busy);
});
test('a lost connection is told, the copy stays, and it is sent when the server is back', async () => {
  const server = new Server(), {outbox, told, timers, keep, rest} = setting(server);
  server.down = true;
  outbox.put(7, 'one');
  await rest();
  outbox.put(7, 'two');
  await rest();
  assert.equal(told.at(-1)[0], 'lost');
  assert.equal(outbox.left(7).doc, 'two');
  server.down = false;
  timers.at(-1)();
  await rest();
  assert.equal(server.doc, 'two');
  assert.equal(keep.size, 0);
});
test('an edit that arrived without its answer is no conflict with itself', async () => {
  const server = new Server(), {outbox, states, timers, rest} = setting(server);
  server.deaf = true;
  outbox.put(7, 'one');
  await rest();
  server.deaf = false;
  outbox.put(7, 'two');
  timers.at(-1)();
  await rest();
  assert.ok(!states().includes('conflict'));
  assert.equal(server.doc, 'two');
});
test('what somebody else saved is never overwritten: both versions stay until a person chooses', async () => {
  const server = new Server(), {outbox, told, keep, rest} = setting(server);
  Object.assign(server, {revision: 2, doc: 'theirs', token: 'other'});
  outbox.put(7, 'mine');
  await rest();
  const [state, details] = told.at(-1);
  assert.equal(state, 'conflict');
  assert.deepEqual([details.mine, details.theirs.doc], ['mine', 'theirs']);
  assert.equal(server.doc, 'theirs');
  assert.equal(keep.size, 1);
  outbox.settle(7, 'both');
  await rest();
  assert.equal(server.doc, 'both');
  assert.equal(keep.size, 0);
});
test('two people who make the same edit do not disturb each other', async () => {
  const server = new Server(), {outbox, states, rest} = setting(server);
  Object.assign(server, {revision: 2, doc: 'same', token: 'other'});
  outbox.put(7, 'same');
  await rest();
  assert.deepEqual(states().at(-1), 'saved');
});
test('a page that was closed too early finds its edits again', async () => {
  const server = new Server(), keep = new Store(), first = setting(server, keep);
  server.down = true;
  first.outbox.put(7, 'one');
  await first.rest();
  const second = setting(server, keep);
  assert.deepEqual(second.outbox.leftovers(), [7]);
  assert.deepEqual(second.outbox.left(7).doc, 'one');
});
test('a full store of the browser is told, and the edits are still sent', async () => {
  const keep = new Store();
  keep.setItem = () => { throw new Error('full'); };
  const server = new Server(), {outbox, told, timers, rest} = setting(server, keep);
  server.down = true;
  outbox.put(7, 'one');
  await rest();
  assert.equal(told.at(-1)[1].kept, false);
  server.down = false;
  timers.at(-1)();
  await rest();
  assert.equal(server.doc, 'one');
});
test('200 edits by two people: each is stored or its maker is asked, none is merged in silence', async () => {
  const server = new Server(), a = setting(server), b = setting(server);
  for (let i = 0; i < 100; i += 1) {
    for (const [name, each] of [['a', a], ['b', b]]) {
      each.outbox.put(7, `${name}${i}`);
      await each.rest();
      const found = each.outbox.conflicts.get(7);
      if (found) { each.outbox.settle(7, `${found.theirs.doc}+${name}${i}`); await each.rest(); }
      assert.ok(server.doc.endsWith(`${name}${i}`));
    }
  }
  assert.ok(a.states().includes('conflict') && b.states().includes('conflict'));
  assert.equal(server.saves, 200);
});
test('what the server refuses is told with its reason, stays refused until it is saved, and is not sent again by itself', async () => {
  const server = new Server(), {outbox, told, timers, keep, rest} = setting(server);
  server.refuses = true;
  outbox.put(7, 'one');
  await rest();
  assert.deepEqual([told.at(-1)[0], told.at(-1)[1].error.message], ['refused', 'no box']);
  assert.deepEqual([outbox.refused.get(7).doc, outbox.refused.get(7).error.message, keep.size, timers.length], ['one', 'no box', 1, 0]);
  outbox.again();
  outbox.opened(7, 5);  // others went on meanwhile: the edits are still those of the older revision
  await rest();
  assert.equal(outbox.revisions.get(7), 1);
  assert.equal(told.filter(([state]) => state === 'refused').length, 1);
  server.refuses = false;
  outbox.put(7, 'two');
  await rest();
  assert.deepEqual([server.doc, outbox.refused.size, keep.size, told.at(-1)[0]], ['two', 0, 0, 'saved']);
});
test('refused edits that are taken back are gone for good', async () => {
  const server = new Server(), {outbox, keep, rest} = setting(server);
  server.refuses = true;
  outbox.put(7, 'one');
  await rest();
  outbox.drop(7);
  assert.deepEqual([outbox.pending(7), keep.size, outbox.left(7), outbox.leftovers()], [false, 0, null, []]);
  outbox.opened(7, 5);
  assert.equal(outbox.revisions.get(7), 5);
  await rest();
  assert.equal(server.saves, 0);
});
test('an edit that waits behind a refused one is sent, and only its answer counts', async () => {
  const server = new Server(), {outbox, told, rest} = setting(server);
  server.refuses = true;
  outbox.put(7, 'one');
  server.refuses = false;
  const send = outbox.send;
  let first = true;
  outbox.send = (payload) => { if (first) { first = false; return Promise.resolve({error: {message: 'no', remedy: ''}}); } return send(payload); };
  outbox.put(8, 'other');
  outbox.opened(8, 1);
  outbox.put(7, 'two');
  await rest();
  assert.ok(!outbox.refused.has(7));
  assert.ok(told.some(([state, {image}]) => state === 'saved' && image === 7));
});
test('a version that waits for a choice outlives what another tab of this browser saves', async () => {
  const server = new Server(), second = setting(server);
  Object.assign(server, {revision: 2, doc: 'theirs', token: 'other'});
  second.outbox.put(7, 'mine');
  await second.rest();
  const first = setting(server, second.keep);
  first.outbox.opened(7, 2);
  first.outbox.put(7, 'first');
  await first.rest();
  assert.equal(server.doc, 'first');
  const later = setting(server, second.keep);
  assert.deepEqual(later.outbox.leftovers(), [7]);
  const left = later.outbox.left(7);
  assert.deepEqual([left.doc, left.revision], ['mine', 1]);
});
