import assert from 'node:assert/strict';
import {test} from 'node:test';
import {merged, renumbered, sameWire, stateOf} from '../../ui/annotator/documents.js';
import {emptyRaster} from '../../ui/annotator/runs.js';
import * as shapes from '../../ui/annotator/shapes.js';
import {erased, painted} from '../../ui/annotator/tools_brush.js';

const SIZE = [40, 30];
const square = (x1, y1, x2, y2) => { const raster = emptyRaster([x1, y1, x2, y2]); raster.bits.fill(1); return raster; };
const suggested = (box) => shapes.fromWire({kind: 'box', cls: 0, box, state: 'suggested', score: 0.8});
const painting = {cls: 1, size: SIZE, exclusive: true, locked: () => false};

test('what a person edits is no suggestion any more, and nothing else changes', () => {
  const one = suggested([1, 1, 5, 5]);
  for (const edited of [shapes.moved(one, 1, 1, SIZE), shapes.withClass(one, 0), shapes.withBox(one, [1, 1, 6, 6]), shapes.accepted(one)]) {
    assert.equal(edited.state, 'truth');
    assert.ok(!('score' in edited));
    assert.equal(edited.id, one.id);
  }
  assert.equal(one.state, 'suggested');
});
test('coordinates keep a hundredth of a pixel', () => {
  assert.deepEqual(shapes.makeBox(0, [1.23456, 2, 3.99999, 4]).box, [1.23, 2, 4, 4]);
});
test('the smallest shape under the pointer is meant, unless one is chosen', () => {
  const large = shapes.makeBox(0, [0, 0, 30, 30]), small = shapes.makeBox(0, [5, 5, 9, 9]);
  assert.equal(shapes.pick([small, large], [6, 6], 0), small);
  assert.equal(shapes.pick([small, large], [6, 6], 0, () => true, (shape) => shape === large), large);
  assert.equal(shapes.pick([small, large], [6, 6], 0, (shape) => shape !== small), large);
  assert.equal(shapes.pick([small], [20, 20], 0), null);
});
test('a point in a hole is not on the polygon', () => {
  const ring = shapes.makePolygon(0, [[0, 0, 20, 0, 20, 20, 0, 20]], [[5, 5, 15, 5, 15, 15, 5, 15]]);
  assert.ok(shapes.hits(ring, [2, 2], 0));
  assert.ok(!shapes.hits(ring, [10, 10], 0));
  assert.equal(shapes.areaOf(ring), 300);
});
test('a mask moves by whole pixels and keeps its form', () => {
  const mask = shapes.makeMask(1, square(3, 4, 8, 9), SIZE), moved = shapes.moved(mask, 2.4, -10, SIZE);
  assert.deepEqual(moved.box, [5, 0, 10, 5]);
  assert.equal(shapes.areaOf(moved), 25);
  assert.equal(moved.id, mask.id);
});
test('painting over another class takes the pixels from it', () => {
  const other = shapes.makeMask(0, square(0, 0, 10, 10), SIZE), after = painted([other], square(5, 0, 15, 10), painting);
  assert.deepEqual(after.map((shape) => [shape.cls, shapes.areaOf(shape)]), [[0, 50], [1, 100]]);
  assert.equal(after[0].id, other.id);
});
test('where classes may overlap nothing is taken away, and a locked class keeps its pixels', () => {
  const other = shapes.makeMask(0, square(0, 0, 10, 10), SIZE);
  assert.equal(painted([other], square(5, 0, 15, 10), {...painting, exclusive: false})[0], other);
  const [kept, made] = painted([other], square(5, 0, 15, 10), {...painting, locked: (shape) => shape.cls === 0});
  assert.equal(kept, other);
  assert.equal(shapes.areaOf(made), 50);
});
test('the eraser takes pixels, and the shape with its last pixel', () => {
  const mask = shapes.makeMask(0, square(0, 0, 10, 10), SIZE), far = shapes.makeMask(0, square(20, 20, 22, 22), SIZE);
  const [less, same] = erased([mask, far], square(0, 0, 5, 10), () => true, SIZE);
  assert.equal(shapes.areaOf(less), 50);
  assert.equal(same, far);
  assert.deepEqual(erased([mask], square(0, 0, 10, 10), () => true, SIZE), []);
});
test('a shape comes back from the wire', () => {
  const all = [shapes.makeBox(1, [1, 2, 3, 4]), shapes.makePolygon(0, [[0, 0, 9, 0, 9, 9]], [[2, 1, 3, 1, 3, 2]]), shapes.makeMask(2, square(1, 1, 4, 5), SIZE), suggested([0, 0, 4, 4])];
  for (const shape of all) assert.deepEqual(shapes.toWire(shapes.fromWire(JSON.parse(JSON.stringify(shapes.toWire(shape))))), shapes.toWire(shape));
});
test('both versions together hold what each added, and what was there once', () => {
  const common = shapes.makeBox(0, [0, 0, 4, 4]), mine = shapes.makeBox(1, [5, 5, 9, 9]), theirs = shapes.makeBox(2, [10, 10, 14, 14]);
  const doc = (...list) => ({looked: true, mark: null, tags: null, shapes: list});
  const both = merged(doc(common), doc(common, mine), doc(common, theirs));
  assert.deepEqual(both.shapes.map((shape) => shape.cls).sort(), [0, 1, 2]);
  assert.deepEqual(merged({shapes: [], tags: [null, null, 0]}, {shapes: [], tags: [1, null, 0]}, {shapes: [], tags: [null, 0, 1]}).tags ?? null, [1, 0, 1]);
});
test('a document is the same in any order of its shapes', () => {
  const a = shapes.toWire(shapes.makeBox(0, [0, 0, 4, 4])), b = shapes.toWire(shapes.makeBox(1, [5, 5, 9, 9]));
  const doc = (...list) => ({looked: true, mark: null, tags: null, shapes: list});
  assert.ok(sameWire(doc(a, b), doc(b, a)));
  assert.ok(!sameWire(doc(a), doc(a, b)));
});
test('states: a suggestion is never truth, a mark stands above labels', () => {
  const doc = (changes) => ({looked: true, mark: null, tags: null, shapes: [], ...changes});
  assert.equal(stateOf(doc({looked: false})), 'unlabeled');
  assert.equal(stateOf(doc({})), 'labeled');
  assert.equal(stateOf(doc({mark: 'checked'})), 'checked');
  assert.equal(stateOf(doc({looked: false, shapes: [suggested([0, 0, 1, 1])]})), 'suggested');
  assert.equal(stateOf(doc({looked: false, hints: [null, 0.4]})), 'suggested');
  assert.equal(stateOf(doc({shapes: [suggested([0, 0, 1, 1])]})), 'labeled');
  assert.equal(stateOf(doc({looked: false, mark: 'skipped'})), 'skipped');
});
test('class ids follow the keys of their classes when somebody deletes, merges, renames or adds one', () => {
  const list = (...keys) => keys.map((own) => ({name: `n${own}`, keys: [own].flat()}));
  const doc = {looked: true, mark: null, tags: [1, 0, null], shapes: [0, 1, 2].map((cls) => shapes.makeBox(cls, [0, 0, 4, 4]))};
  const without = renumbered(doc, [0, 1, 2], list(0, 2));
  assert.deepEqual([without.shapes.map(({cls}) => cls), without.tags], [[0, 1], [1, null]]);
  assert.deepEqual(renumbered(doc, [0, 1, 2], list([0, 2], 1, 3)).shapes.map(({cls}) => cls), [0, 1, 0], 'merged into the first, another added');
  assert.deepEqual(renumbered(doc, [0, 1, 2], list([0, 2], 1, 3)).tags, [1, 0, null]);
  assert.deepEqual(renumbered(doc, [0, 1, 2], list(1, 2, 5)).shapes.map(({cls}) => cls), [0, 1], 'as many classes as before, and yet others');
  assert.equal(renumbered(doc, [0, 1, 2], list(0, 1, 2)), doc);
  assert.deepEqual(renumbered(doc, [0, 1, 2], list(0, 1, 2, 7)).tags, [1, 0, null, null]);
  assert.deepEqual(renumbered(doc, ['n0', 'n1', 'n2'], list(0, 2)).shapes.map(({cls}) => cls), [0, 1], 'a copy of an older version knows names');
});
test('painted areas of two people are joined pixel by pixel', () => {
  const size = [40, 30], disc = ([x1, y1, x2, y2]) => { const raster = emptyRaster([x1, y1, x2, y2]); raster.bits.fill(1); return raster; };
  const mask = (cls, box) => shapes.makeMask(cls, disc(box), size), doc = (list) => ({looked: true, mark: null, tags: null, shapes: list});
  const base = [mask(0, [0, 0, 40, 30])];
  const stroke = (list, cls, box) => painted(list, disc(box), {cls, target: undefined, size, exclusive: true, locked: () => false});
  const theirs = stroke(base, 2, [2, 2, 8, 8]), mine = stroke(base, 1, [20, 10, 30, 20]);
  const found = merged(doc(base), doc(mine), doc(theirs), {kind: 'mask', size}).shapes, areas = Object.fromEntries(found.map((shape) => [shape.cls, shapes.areaOf(shape)]));
  assert.deepEqual(areas, {0: 1200 - 36 - 100, 1: 100, 2: 36});
});
