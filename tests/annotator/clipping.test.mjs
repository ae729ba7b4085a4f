import assert from 'node:assert/strict';
import {beforeEach, test} from 'node:test';
import {clipped} from '../../ui/annotator/clipping.js';
import {emptyRaster} from '../../ui/annotator/runs.js';
import {areaOf, makeBox, makeMask, makePolygon, rasterOf} from '../../ui/annotator/shapes.js';
import {Studio} from '../../ui/annotator/studio.js';

const LARGE = [200, 160], SIZE = [100, 80];
let studio, said, saved;
const mask = (cls, frame, size = LARGE) => { const raster = emptyRaster(frame); raster.bits.fill(1); return makeMask(cls, raster, size); };
const fits = (shape) => shape.box[0] >= 0 && shape.box[1] >= 0 && shape.box[2] <= SIZE[0] && shape.box[3] <= SIZE[1] && shape.box[2] > shape.box[0] && shape.box[3] > shape.box[1];
const open = (kind, ...shapes) => studio.open({looked: false, mark: null, tags: null, hints: null, shapes}, {kind, size: SIZE});

beforeEach(() => {
  said = [];
  saved = [];
  studio = new Studio({saved: (doc) => saved.push(doc), changed: () => {}, say: (...words) => said.push(words)});
  studio.classes = [{name: 'a'}, {name: 'b'}];
});

test('a shape that lies inside stays the very same', () => {
  for (const shape of [makeBox(0, [0, 0, 100, 80]), makePolygon(0, [[0, 0, 100, 0, 50, 80]]), mask(0, [1, 1, 5, 5], SIZE)]) assert.equal(clipped(shape, SIZE), shape);
});
test('of a box, a polygon and a mask the part on the image is kept', () => {
  assert.deepEqual(clipped(makeBox(1, [90, 70, 150, 150]), SIZE).box, [90, 70, 100, 80]);
  const polygon = clipped(makePolygon(1, [[50, 10, 150, 10, 150, 30, 50, 30]], [[60, 15, 70, 15, 70, 20, 60, 20], [120, 15, 130, 15, 130, 20, 120, 20]]), SIZE);
  assert.deepEqual([polygon.box, polygon.holes.length, areaOf(polygon)], [[50, 10, 100, 30], 1, 950]);
  const cut = clipped(mask(1, [90, 70, 150, 150]), SIZE);
  assert.deepEqual([cut.cls, cut.size, cut.box, areaOf(cut)], [1, [80, 100], [90, 70, 100, 80], 100]);
  assert.deepEqual([rasterOf({...cut}).w, rasterOf({...cut}).h], [10, 10]);
});
test('a mask of another image gets the size of this one', () => {
  assert.deepEqual(clipped(mask(0, [3, 4, 9, 9]), SIZE).size, [80, 100]);
});
test('nothing is kept of what lies outside', () => {
  for (const shape of [makeBox(0, [100, 5, 150, 30]), makePolygon(0, [[120, 10, 150, 10, 150, 30]]), mask(0, [100, 100, 120, 120]), makePolygon(0, [[100, 0, 150, 0, 100, 50]])]) assert.equal(clipped(shape, SIZE), null);
});
test('shapes of a larger image are clipped when pasted, and those outside are counted', () => {
  open('objects', makeBox(0, [1, 1, 9, 9]));
  studio.paste([makeBox(0, [20, 20, 50, 50]), makeBox(1, [90, 70, 150, 150]), makeBox(0, [120, 5, 150, 30]), mask(0, [150, 100, 160, 120])]);
  assert.deepEqual(studio.doc.shapes.map(({box}) => box), [[1, 1, 9, 9], [20, 20, 50, 50], [90, 70, 100, 80]]);
  assert.deepEqual(said, [['leftOut', {n: 2}]]);
});
test('when nothing of them fits, the image stays as it is', () => {
  for (const kind of ['objects', 'mask', 'layers']) {
    open(kind, mask(0, [1, 1, 9, 9], SIZE));
    studio.paste([mask(0, [150, 100, 160, 120])]);
    assert.deepEqual([studio.doc.shapes.length, studio.doc.looked], [1, false]);
  }
  assert.deepEqual([saved.length, said.length], [0, 3]);
});
test('painted areas of a larger image are clipped as well', () => {
  open('mask');
  studio.paste([mask(0, [90, 70, 150, 150]), mask(1, [150, 100, 160, 120])]);
  assert.deepEqual([studio.doc.shapes.map(({box}) => box), said], [[[90, 70, 100, 80]], [['leftOut', {n: 1}]]]);
});
test('copies, moves and restored labels stay on the image', () => {
  open('objects', makeBox(0, [95, 75, 100, 80]), makePolygon(0, [[90, 60, 100, 60, 100, 70]]), mask(0, [98, 70, 100, 80], SIZE));
  studio.select(studio.doc.shapes.map(({id}) => id));
  studio.duplicate();
  studio.nudge([10, 10]);
  assert.ok(studio.doc.shapes.length === 6 && studio.doc.shapes.every(fits));
  studio.restore({looked: true, tags: null, shapes: [makeBox(0, [95, 75, 120, 90]), makeBox(0, [120, 5, 150, 30])]});
  assert.ok(studio.doc.shapes.length === 1 && studio.doc.shapes.every(fits));
  assert.deepEqual(said, [['leftOut', {n: 1}]]);
});
