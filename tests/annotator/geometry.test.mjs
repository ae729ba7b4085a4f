import assert from 'node:assert/strict';
import {test} from 'node:test';
import * as geometry from '../../ui/annotator/geometry.js';

const SQUARE = [0, 0, 10, 0, 10, 10, 0, 10];

test('a handle moves only the sides that it holds, and a box that is turned over stays a box', () => {
  assert.deepEqual(geometry.resized([2, 2, 8, 8], 'se', [12, 9]), [2, 2, 12, 9]);
  assert.deepEqual(geometry.resized([2, 2, 8, 8], 'n', [100, 1]), [2, 1, 8, 8]);
  assert.deepEqual(geometry.resized([2, 2, 8, 8], 'w', [11, 5]), [8, 2, 11, 8]);
});
test('all eight handles lie on the border', () => {
  for (const name of Object.keys(geometry.HANDLES)) {
    const [x, y] = geometry.handlePoint([0, 0, 10, 10], name);
    assert.ok(x === 0 || x === 10 || y === 0 || y === 10, name);
  }
  assert.equal(Object.keys(geometry.HANDLES).length, 8);
});
test('a shift stops at the borders of the image', () => {
  assert.deepEqual(geometry.shiftWithin([2, 2, 8, 8], -5, 100, [20, 20]), [-2, 12]);
});
test('a point is in a ring or not', () => {
  assert.ok(geometry.pointInRing([5, 5], SQUARE));
  assert.ok(!geometry.pointInRing([15, 5], SQUARE));
});
test('the nearest side takes a new vertex between its ends', () => {
  const side = geometry.nearestSide([5, 1], SQUARE);
  assert.deepEqual(side, {at: 0, point: [5, 0], distance: 1});
  assert.deepEqual(geometry.withVertex(SQUARE, side.at + 1, side.point), [0, 0, 5, 0, 10, 0, 10, 10, 0, 10]);
  assert.deepEqual(geometry.nearestSide([-1, 5], SQUARE).at, 3);
});
test('a vertex that is added and taken away leaves the ring as it was', () => {
  assert.deepEqual(geometry.withoutVertex(geometry.withVertex(SQUARE, 2, [3, 3]), 2), SQUARE);
});
test('simplifying drops what lies on a line, never more than the tolerance away', () => {
  const ring = Array.from({length: 360}, (_, i) => [100 + 80 * Math.cos(i * Math.PI / 180), 100 + 80 * Math.sin(i * Math.PI / 180)]).flat();
  const fewer = geometry.simplified(ring, 1);
  assert.ok(fewer.length < ring.length / 5);
  for (let i = 0; i < ring.length; i += 2) assert.ok(geometry.nearestSide([ring[i], ring[i + 1]], fewer).distance <= 1.0001);
  assert.deepEqual(geometry.simplified([0, 0, 5, 0, 10, 0, 10, 10, 0, 10], 0.1), SQUARE);
});
test('a ring is cut along a line between two vertices, and the parts make up the whole', () => {
  const [first, second] = geometry.splitAt(SQUARE, 0, 2);
  assert.equal(geometry.ringArea(first) + geometry.ringArea(second), 100);
  assert.equal(geometry.splitAt(SQUARE, 0, 1), null);
});
