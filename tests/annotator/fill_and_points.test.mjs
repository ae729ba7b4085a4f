import assert from 'node:assert/strict';
import {beforeEach, test} from 'node:test';
import {rasterFrom} from '../../ui/annotator/areas.js';
import {countBits, emptyRaster} from '../../ui/annotator/runs.js';
import {areaOf, makeMask, toWire} from '../../ui/annotator/shapes.js';
import {Studio} from '../../ui/annotator/studio.js';
import {brushTool} from '../../ui/annotator/tools_brush.js';
import {selectTool} from '../../ui/annotator/tools_box.js';
import {alike, closed, fillTool, flooded} from '../../ui/annotator/tools_fill.js';
import {pointsTool} from '../../ui/annotator/tools_points.js';

const SIZE = [60, 40], MOUSE = {pointerType: 'mouse', shiftKey: false, altKey: false};
const picture = (width, height, colour) => {
  const data = new Uint8ClampedArray(width * height * 4);
  for (let y = 0; y < height; y += 1) for (let x = 0; x < width; x += 1) data.set([...colour(x, y), 255], (y * width + x) * 4);
  return {data, width, height};
};
const ring = (frame, thick) => {
  const raster = emptyRaster(frame);
  for (let y = 0; y < raster.h; y += 1) for (let x = 0; x < raster.w; x += 1) raster.bits[y * raster.w + x] = Number(x < thick || y < thick || x >= raster.w - thick || y >= raster.h - thick);
  return raster;
};
let studio, said, asked, answer;
const click = (point, event = MOUSE) => { studio.tool.move?.(point, event); studio.tool.down(point, event); studio.tool.up(point, event); };
const rest = () => new Promise((done) => { setImmediate(done); });

beforeEach(() => {
  said = [];
  asked = [];
  answer = null;
  studio = new Studio({saved: () => {}, changed: () => {}, say: (key) => said.push(key)});
  studio.classes = ['a', 'b'].map((name) => ({name, color: '#E69F00'}));
  studio.view.resize(600, 400);
  studio.view.setImage(SIZE);
  studio.painter = {picture: {pixels: () => picture(60, 40, (x, y) => (x >= 10 && x < 30 && y >= 5 && y < 20 ? [200, 10, 10] : [20, 30, 40]))}, refresh() {}, request() {}};
  studio.tools = {select: selectTool(studio), fill: fillTool(studio), brush: brushTool(studio), points: pointsTool(studio, async (wanted) => { asked.push(wanted); return answer; })};
  studio.open({looked: false, mark: null, tags: null, shapes: []}, {kind: 'objects', size: SIZE});
});

test('a flood stops at what is not free and tells whether it reached the border', () => {
  const wall = ring([0, 0, 10, 10], 1), inner = flooded(10, 10, 5, 5, (i) => !wall.bits[i]);
  assert.deepEqual([countBits(inner), inner.edge], [64, false]);
  assert.equal(flooded(10, 10, 5, 5, () => true).edge, true);
});
test('a click takes the pixels around it that look alike', () => {
  studio.useTool('fill');
  click([15, 10]);
  assert.deepEqual([studio.doc.shapes[0].kind, areaOf(studio.doc.shapes[0]), studio.doc.shapes[0].box], ['mask', 300, [10, 5, 30, 20]]);
  studio.setClass(1);
  click([50, 35]);
  assert.equal(areaOf(studio.doc.shapes[1]), 60 * 40 - 300);
});
test('pixels of a picture that is smaller than the image are taken in its size', () => {
  const found = alike(picture(30, 20, (x) => (x < 10 ? [0, 0, 0] : [255, 255, 255])), [5, 5], 8, SIZE);
  assert.deepEqual([found.x, found.y, found.w, found.h, countBits(found)], [0, 0, 20, 40, 800]);
});
test('a click in the hole of a painted mask closes it', () => {
  studio.useTool('brush');
  studio.paintArea(ring([20, 10, 40, 30], 2));
  studio.tool = studio.tools.fill;
  click([30, 20]);
  assert.deepEqual([studio.doc.shapes.length, areaOf(studio.doc.shapes[0])], [1, 400]);
});
test('strokes become polygons with what they surround when a person asks for it', () => {
  assert.equal(countBits(closed(ring([3, 3, 13, 13], 1))), 100);
  studio.brushPolygon = true;
  studio.useTool('brush');
  studio.paintArea(ring([5, 5, 15, 15], 1));
  studio.paintArea(ring([10, 10, 20, 20], 1));
  assert.deepEqual([studio.doc.shapes.map(({kind}) => kind), countBits(rasterFrom(studio.doc.shapes[0], SIZE))], [['polygon'], 175]);
});
test('an object that was pointed at is a preview until it is taken', async () => {
  const raster = emptyRaster([10, 5, 30, 20]);
  raster.bits.fill(1);
  answer = {id: 0, kind: 'mask', holes: [], rings: [], ...toWire(makeMask(0, raster, SIZE))};
  studio.setClass(1);
  studio.useTool('points');
  click([15, 10]);
  click([40, 30], {...MOUSE, shiftKey: true});
  await rest();
  assert.deepEqual([asked.at(-1).inside, asked.at(-1).outside, studio.doc.shapes], [[[15, 10]], [[40, 30]], []]);
  assert.deepEqual(asked.at(-1).window.map(Math.round), [0, 0, 60, 40]);
  assert.equal(studio.tool.enter(), true);
  assert.deepEqual([studio.doc.shapes[0].kind, studio.doc.shapes[0].cls, areaOf(studio.doc.shapes[0])], ['polygon', 1, 300]);
  assert.ok(!studio.tool.busy());
});
test('a drag asks for what is in the box, undo takes points back, and cancel leaves nothing', async () => {
  studio.useTool('points');
  studio.tool.down([5, 5], MOUSE);
  studio.tool.move([25, 20], MOUSE);
  studio.tool.up([25, 20], MOUSE);
  await rest();
  assert.deepEqual([asked.at(-1).box, said], [[5, 5, 25, 20], ['nothingFound']]);
  studio.undo();
  assert.ok(!studio.tool.busy());
  click([15, 10]);
  studio.tool.cancel();
  assert.deepEqual([studio.tool.busy(), studio.tool.enter(), studio.doc.shapes], [false, false, []]);
});
