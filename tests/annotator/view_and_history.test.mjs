import assert from 'node:assert/strict';
import {test} from 'node:test';
import {DEPTH, History} from '../../ui/annotator/history.js';
import {KEYS, actionOf, keyName} from '../../ui/annotator/keys.js';
import {PLAIN, toneTable} from '../../ui/annotator/picture.js';
import {View} from '../../ui/annotator/view.js';

const view = (size = [4000, 3000]) => { const made = new View(); made.resize(1000, 700); made.setImage(size); return made; };
const near = (a, b, most = 1e-6) => assert.ok(Math.hypot(a[0] - b[0], a[1] - b[1]) < most, `${a} ${b}`);

test('fitted, the whole image is in sight', () => {
  const made = view(), [x1, y1] = made.toScreen([0, 0]), [x2, y2] = made.toScreen([4000, 3000]);
  assert.ok(x1 >= 0 && y1 >= 0 && x2 <= 1000 && y2 <= 700);
});
test('zooming keeps the point under the pointer, and coordinates are exact at every zoom', () => {
  const made = view(), at = [613, 222];
  const before = made.toImage(at);
  for (let i = 0; i < 60; i += 1) { made.zoom(i % 2 ? 1.31 : 1.07, at); near(made.toImage(at), before, 0.1); near(made.toImage(made.toScreen([1234.5, 678.9])), [1234.5, 678.9], 0.001); }
});
test('two fingers keep what lies under them', () => {
  const made = view(), from = [[300, 300], [500, 300]], to = [[250, 320], [600, 340]];
  const middle = made.toImage([400, 300]);
  made.pinch(from, to);
  near(made.toImage([425, 330]), middle, 1e-6);
});
test('the image cannot be lost from sight', () => {
  const made = view();
  made.pan(1e6, -1e6);
  const [x, y] = made.toScreen([0, 3000]);
  assert.ok(x < 1000 && y > 0);
});
test('a canvas that changes its size keeps the whole image, or its middle', () => {
  const made = view();
  made.resize(500, 500);
  assert.ok(made.fitted && made.toScreen([4000, 0])[0] <= 500);
  made.zoom(4, [250, 250]);
  const middle = made.toImage([250, 250]);
  made.resize(800, 600);
  near(made.toImage([400, 300]), middle, 1e-6);
});
test('a hundred edits can be undone and done again', () => {
  const history = new History();
  let now = 0;
  for (let i = 1; i <= 130; i += 1) { history.note(now); now = i; }
  let steps = 0;
  for (let back = history.undo(now); back !== null; back = history.undo(now)) { now = back; steps += 1; }
  assert.equal(steps, DEPTH);
  assert.equal(now, 30);
  for (let next = history.redo(now); next !== null; next = history.redo(now)) now = next;
  assert.equal(now, 130);
});
test('an edit after an undo ends the future', () => {
  const history = new History();
  history.note('a');
  assert.equal(history.undo('b'), 'a');
  history.note('a');
  assert.equal(history.redo('c'), null);
});
test('keys do what the list says', () => {
  const press = (key, more = {}) => actionOf({key, ctrlKey: false, metaKey: false, shiftKey: false, altKey: false, ...more});
  assert.deepEqual(press('d'), {action: 'next'});
  assert.deepEqual(press('D', {ctrlKey: true, shiftKey: true}), {action: 'nextOpen'});
  assert.deepEqual(press('z', {ctrlKey: true}), {action: 'undo'});
  assert.deepEqual(press('Z', {metaKey: true, shiftKey: true}), {action: 'redo'});
  assert.deepEqual(press('3'), {action: 'class', value: 2});
  assert.deepEqual(press('ArrowLeft', {shiftKey: true}), {action: 'nudge', value: [-10, 0]});
  assert.deepEqual(press('?', {shiftKey: true}), {action: 'help'});
  assert.equal(press('c', {ctrlKey: true}), null);
  assert.equal(press('1', {ctrlKey: true}), null);
  const shown = KEYS.map(([, key]) => keyName(key));
  assert.ok(shown.every((name) => name.length > 0));
  assert.equal(new Set(KEYS.map(([, key]) => key)).size, KEYS.length);
});
test('the window of tones is spread over all tones', () => {
  const table = toneTable({...PLAIN, low: 100, high: 200});
  assert.deepEqual([table[50], table[100], table[150], table[200], table[255]], [0, 0, 128, 255, 255]);
  assert.deepEqual([...toneTable(PLAIN)], Array.from({length: 256}, (_, i) => i));
  assert.equal(toneTable({...PLAIN, invert: true})[0], 255);
});
