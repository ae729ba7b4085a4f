import assert from 'node:assert/strict';
import {test} from 'node:test';
import * as runs from '../../ui/annotator/runs.js';

const random = (seed) => () => { seed = (seed * 1664525 + 1013904223) >>> 0; return seed / 2 ** 32; };
const pixels = (raster) => {
  const found = new Set();
  for (let row = 0; row < raster.h; row += 1) for (let column = 0; column < raster.w; column += 1) if (raster.bits[row * raster.w + column]) found.add(`${raster.x + column},${raster.y + row}`);
  return found;
};

test('run lengths come back from their text', () => {
  for (const lengths of [[0, 5], [12], [3, 1, 0, 7, 100000, 2, 65, 31, 32], [1, 2, 3, 4, 5, 6, 7]]) assert.deepEqual(runs.runsOf(runs.countsOf(lengths)), lengths);
});
test('the text is the one that COCO writes', () => {
  assert.equal(runs.countsOf([6, 1, 40, 4, 5, 4, 5, 4, 21]), '61X13mN000`0');  // the example in the comments of COCO's own encoder
});
test('a torn text is refused', () => {
  assert.throws(() => runs.runsOf('a\u0001'));
});
test('a raster comes back from its runs, wherever it lies', () => {
  const next = random(7);
  for (let round = 0; round < 40; round += 1) {
    const width = 1 + Math.floor(next() * 30), height = 1 + Math.floor(next() * 30), raster = runs.emptyRaster([0, 0, width, height]);
    raster.bits.forEach((_, i) => { raster.bits[i] = next() < 0.3 ? 1 : 0; });
    const lengths = runs.runsOfRaster(raster, [width, height]);
    assert.equal(lengths.reduce((sum, run) => sum + run, 0), width * height);
    const back = runs.rasterOfRuns(lengths, height);
    assert.deepEqual(back ? pixels(back) : new Set(), pixels(raster));
    const cut = runs.trimmed(raster);
    if (cut) assert.deepEqual(runs.runsOfRaster(cut, [width, height]), lengths);
  }
});
test('a stroke covers the pixels whose centre is within reach, and an eraser takes them away', () => {
  const raster = runs.emptyRaster([0, 0, 40, 20]), a = [5.2, 6.1], b = [30.7, 12.4];
  runs.stroke(raster, a, b, 4, 1);
  for (let row = 0; row < 20; row += 1) {
    for (let column = 0; column < 40; column += 1) {
      const share = Math.min(1, Math.max(0, ((column + 0.5 - a[0]) * (b[0] - a[0]) + (row + 0.5 - a[1]) * (b[1] - a[1])) / ((b[0] - a[0]) ** 2 + (b[1] - a[1]) ** 2)));
      const far = Math.hypot(column + 0.5 - a[0] - share * (b[0] - a[0]), row + 0.5 - a[1] - share * (b[1] - a[1]));
      if (Math.abs(far - 4) > 1e-9) assert.equal(raster.bits[row * 40 + column], far < 4 ? 1 : 0);
    }
  }
  runs.stroke(raster, a, b, 5, 0);
  assert.equal(runs.countBits(raster), 0);
});
test('rings are filled by the centres of pixels, holes left out', () => {
  const raster = runs.emptyRaster([0, 0, 10, 10]);
  runs.fillRings(raster, [[1, 1, 9, 1, 9, 9, 1, 9], [3, 3, 6, 3, 6, 6, 3, 6]], 1);
  assert.equal(runs.countBits(raster), 64 - 9);
});
test('outlines of a mask, filled again, are the mask', () => {
  const next = random(3);
  for (let round = 0; round < 60; round += 1) {
    const raster = runs.emptyRaster([2, 3, 2 + 12, 3 + 9]);
    raster.bits.forEach((_, i) => { raster.bits[i] = next() < 0.55 ? 1 : 0; });
    const again = runs.emptyRaster([2, 3, 14, 12]);
    runs.fillRings(again, runs.outlines(raster), 1);
    assert.deepEqual(pixels(again), pixels(raster));
  }
});
test('growing keeps every pixel in place', () => {
  const raster = runs.emptyRaster([5, 5, 7, 7]);
  raster.bits.fill(1);
  const large = runs.grown(raster, [0, 2, 6, 9]);
  assert.deepEqual([large.x, large.y, large.w, large.h], [0, 2, 7, 7]);
  assert.deepEqual(pixels(large), pixels(raster));
});
