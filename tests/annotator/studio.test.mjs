import assert from 'node:assert/strict';
import {beforeEach, test} from 'node:test';
import {docFromWire} from '../../ui/annotator/documents.js';
import {emptyRaster} from '../../ui/annotator/runs.js';
import {areaOf, makeBox, makeMask, makePolygon} from '../../ui/annotator/shapes.js';
import {polygonOf, rasterFrom} from '../../ui/annotator/areas.js';
import {Studio} from '../../ui/annotator/studio.js';
import {boxTool, selectTool} from '../../ui/annotator/tools_box.js';
import {brushTool} from '../../ui/annotator/tools_brush.js';
import {polygonTool} from '../../ui/annotator/tools_polygon.js';

const SIZE = [100, 80], MOUSE = {pointerType: 'mouse', shiftKey: false, altKey: false};
let studio, said, saved;
const square = (x1, y1, x2, y2) => { const raster = emptyRaster([x1, y1, x2, y2]); raster.bits.fill(1); return raster; };
const document = (...shapes) => ({looked: true, mark: null, tags: null, shapes});
const drag = (...points) => {
  studio.tool.down(points[0], MOUSE);
  points.slice(1).forEach((point) => studio.tool.move(point, MOUSE));
  studio.tool.up(points.at(-1), MOUSE);
};
const click = (point, event = MOUSE) => { studio.tool.move?.(point, event); studio.tool.down(point, event); studio.tool.up(point, event); };
const kinds = () => studio.doc.shapes.map(({kind}) => kind);

beforeEach(() => {
  said = [];
  saved = [];
  studio = new Studio({saved: (doc) => saved.push(doc), changed: () => {}, say: (key) => said.push(key)});
  studio.classes = [{name: '剪刀', color: '#E69F00'}, {name: 'b', color: '#56B4E9'}, {name: 'c', color: '#009E73'}];
  studio.view.resize(1000, 800);
  studio.view.setImage(SIZE);
  studio.tools = {select: selectTool(studio), box: boxTool(studio), polygon: polygonTool(studio), hole: polygonTool(studio, 'hole'), brush: brushTool(studio), eraser: brushTool(studio, true)};
  studio.open(document(), {kind: 'objects', size: SIZE});
  studio.useTool('select');
});

test('a box is drawn, moved, resized, and each step is saved once', () => {
  studio.useTool('box');
  drag([10, 10], [20, 15], [40, 30]);
  studio.useTool('select');
  drag([25, 20], [30, 22], [35, 25]);
  assert.deepEqual(studio.doc.shapes[0].box, [20, 15, 50, 35]);
  drag([50, 35], [60, 50]);
  assert.deepEqual(studio.doc.shapes[0].box, [20, 15, 60, 50]);
  assert.equal(saved.length, 3);
});
test('a click draws no box', () => {
  studio.useTool('box');
  drag([10, 10], [10.1, 10]);
  assert.deepEqual(kinds(), []);
});
test('a polygon takes vertices on other shapes and closes on its first one', () => {
  studio.open(document(makeBox(0, [5, 5, 60, 60])), {kind: 'objects', size: SIZE});
  studio.useTool('polygon');
  for (const point of [[10, 10], [50, 10], [50, 50], [10, 50], [10.2, 10.1]]) click(point);
  assert.deepEqual(kinds(), ['box', 'polygon']);
  assert.deepEqual(studio.doc.shapes[1].rings, [[10, 10, 50, 10, 50, 50, 10, 50]]);
});
test('undo takes back a vertex while a polygon is drawn, then whole edits', () => {
  studio.useTool('box');
  drag([1, 1], [30, 30]);
  studio.useTool('polygon');
  [[10, 10], [50, 10], [50, 50]].forEach((point) => click(point));
  studio.undo();
  click([20, 60]);
  studio.tool.enter();
  assert.deepEqual(studio.doc.shapes[1].rings, [[10, 10, 50, 10, 20, 60]]);
  studio.undo();
  studio.undo();
  assert.deepEqual(kinds(), []);
  studio.redo();
  studio.redo();
  assert.deepEqual(kinds(), ['box', 'polygon']);
});
test('vertices are moved, added on a side, and taken away', () => {
  studio.open(document(makePolygon(0, [[10, 10, 50, 10, 50, 50, 10, 50]])), {kind: 'objects', size: SIZE});
  studio.select([studio.doc.shapes[0].id]);
  drag([50, 50], [60, 60]);
  drag([30, 10], [30, 5]);
  assert.deepEqual(studio.doc.shapes[0].rings, [[10, 10, 30, 5, 50, 10, 60, 60, 10, 50]]);
  click([30, 5], {...MOUSE, altKey: true});
  assert.deepEqual(studio.doc.shapes[0].rings, [[10, 10, 50, 10, 60, 60, 10, 50]]);
  click([10, 50]);
  studio.remove();
  assert.deepEqual(studio.doc.shapes[0].rings, [[10, 10, 50, 10, 60, 60]]);
  studio.remove();
  assert.deepEqual(kinds(), []);
});
test('several shapes are chosen by a frame or with Shift, and move and go together', () => {
  studio.open(document(makeBox(0, [5, 5, 15, 15]), makeBox(1, [20, 5, 30, 15]), makeBox(2, [60, 60, 70, 70])), {kind: 'objects', size: SIZE});
  drag([1, 1], [40, 40]);
  assert.equal(studio.selection.size, 2);
  drag([10, 10], [12, 10], [15, 12]);
  assert.deepEqual(studio.doc.shapes.map(({box}) => box), [[10, 7, 20, 17], [25, 7, 35, 17], [60, 60, 70, 70]]);
  studio.setClass(2);
  assert.deepEqual(studio.doc.shapes.map(({cls}) => cls), [2, 2, 2]);
  click([65, 65], {...MOUSE, shiftKey: true});
  studio.remove();
  assert.deepEqual(kinds(), []);
});
test('a class key changes what is drawn next, not what was drawn last', () => {
  studio.useTool('box');
  drag([1, 1], [30, 30]);
  studio.setClass(1);
  drag([40, 40], [60, 60]);
  assert.deepEqual(studio.doc.shapes.map(({cls}) => cls), [0, 1]);
});
test('locked and hidden shapes are left alone', () => {
  const locked = makeBox(0, [5, 5, 15, 15]), hidden = makeBox(1, [20, 5, 30, 15]);
  studio.open(document(locked, hidden), {kind: 'objects', size: SIZE});
  studio.toggle(studio.lockedShapes, locked.id);
  studio.toggle(studio.hiddenClasses, 1);
  drag([10, 10], [20, 20]);
  click([25, 10]);
  assert.deepEqual(studio.doc.shapes, [locked, hidden]);
  assert.equal(studio.selection.size, 0);
});
test('strokes go on with one mask until another class is chosen', () => {
  studio.useTool('brush');
  studio.radius = 3;
  drag([10, 10], [20, 10]);
  drag([20, 10], [20, 20]);
  studio.setClass(1);
  drag([60, 60], [65, 60]);
  assert.deepEqual(studio.doc.shapes.map(({kind, cls}) => [kind, cls]), [['mask', 0], ['mask', 1]]);
  studio.useTool('eraser');
  studio.radius = 50;
  drag([62, 60], [63, 60]);
  assert.ok(kinds().length <= 2 && saved.length === 4);
});
test('where pixels have one class, boxes and polygons paint', () => {
  studio.open(document(), {kind: 'mask', size: SIZE});
  studio.useTool('box');
  drag([10, 10], [30, 30]);
  studio.setClass(1);
  drag([20, 10], [40, 30]);
  assert.deepEqual(studio.doc.shapes.map((shape) => [shape.kind, shape.cls, areaOf(shape)]), [['mask', 0, 200], ['mask', 1, 400]]);
});
test('holes, joins, splits and other kinds keep the area', () => {
  const one = makePolygon(0, [[10, 10, 30, 10, 30, 30, 10, 30]]), two = makePolygon(0, [[20, 10, 50, 10, 50, 30, 20, 30]]);
  studio.open(document(one, two), {kind: 'objects', size: SIZE});
  studio.select([one.id, two.id]);
  studio.join();
  assert.deepEqual([kinds(), areaOf(studio.doc.shapes[0])], [['polygon'], 800]);
  studio.useTool('hole');
  [[22, 15], [28, 15], [28, 25], [22, 25]].forEach((point) => click(point));
  studio.tool.enter();
  assert.equal(areaOf(studio.doc.shapes[0]), 740);
  studio.select([studio.doc.shapes[0].id]);
  studio.convert();
  assert.deepEqual([kinds(), areaOf(studio.doc.shapes[0])], [['mask'], 740]);
  studio.convert();
  assert.deepEqual([kinds(), areaOf(studio.doc.shapes[0])], [['polygon'], 740]);
  studio.open(document(one), {kind: 'objects', size: SIZE});
  studio.select([one.id]);
  studio.split();
  assert.deepEqual([kinds(), studio.doc.shapes.reduce((sum, shape) => sum + areaOf(shape), 0)], [['polygon', 'polygon'], 400]);
});
test('a hole outside of every polygon is refused with a word', () => {
  studio.useTool('hole');
  [[22, 15], [28, 15], [28, 25]].forEach((point) => click(point));
  studio.tool.enter();
  assert.deepEqual(said, ['noPolygonHere']);
});
test('masks become outlines with holes', () => {
  const raster = square(5, 5, 15, 15);
  for (let row = 3; row < 6; row += 1) raster.bits.fill(0, row * 10 + 3, row * 10 + 6);
  const polygon = polygonOf(makeMask(0, raster, SIZE));
  assert.deepEqual([polygon.rings.length, polygon.holes.length, areaOf(polygon)], [1, 1, 91]);
  assert.deepEqual(rasterFrom(polygon, SIZE).bits, raster.bits);
});
test('suggestions stay so until accepted, and cannot be checked before', () => {
  const wire = {looked: true, tags: null, shapes: [{kind: 'box', cls: 0, box: [1, 1, 9, 9], state: 'suggested', score: 0.9}, {kind: 'box', cls: 1, box: [20, 20, 29, 29]}]};
  studio.open(docFromWire(wire), {kind: 'objects', size: SIZE});
  studio.mark('checked');
  assert.deepEqual([said, saved.length], [['acceptFirst'], 0]);
  studio.accept();
  assert.deepEqual(studio.doc.shapes.map(({state}) => state), ['truth', 'truth']);
  studio.mark('checked');
  assert.equal(studio.doc.mark, 'checked');
  studio.undo();
  assert.equal(studio.doc.mark, null);
});
test('tags: one of many, or several', () => {
  studio.open({looked: false, mark: null, shapes: [], tags: [null, null, null]}, {kind: 'tags', size: SIZE});
  studio.setClass(1);
  studio.setClass(2);
  assert.deepEqual(studio.doc.tags, [null, 1, 1]);
  studio.oneTag = true;
  studio.setClass(0);
  assert.deepEqual(studio.doc.tags, [1, 0, 0]);
  studio.tag(0, null);
  assert.deepEqual(studio.doc.tags, [null, 0, 0]);
});
test('nothing can be changed where one may only look', () => {
  studio.readOnly = true;
  studio.add(makeBox(0, [1, 1, 5, 5]));
  studio.mark('skipped');
  assert.deepEqual([studio.doc.shapes.length, saved.length, said], [0, 0, ['readOnly', 'readOnly']]);
});
test('tags have no shapes: every drawing tool is refused there, and nothing changes', () => {
  const tags = {looked: true, mark: 'checked', shapes: [], tags: [1, 0, null]};
  studio.open(tags, {kind: 'tags', size: SIZE});
  for (const name of ['box', 'polygon', 'hole', 'brush', 'eraser']) studio.useTool(name);
  drag([10, 10], [40, 30]);
  assert.deepEqual([studio.tool.name, studio.doc, saved.length], ['select', tags, 0]);
  assert.deepEqual([...new Set(said)], ['tagsOnly']);
});
test('an image of tags takes the drawing tool out of the hand', () => {
  studio.useTool('box');
  studio.open({looked: false, mark: null, shapes: [], tags: [null, null, null]}, {kind: 'tags', size: SIZE});
  drag([10, 10], [40, 30]);
  assert.deepEqual([studio.tool.name, saved.length], ['select', 0]);
});
test('a polygon in the hand is finished and kept when a person goes on, with fewer than three points that is said', () => {
  studio.useTool('polygon');
  [[10, 10], [50, 10], [50, 50]].forEach((point) => click(point));
  assert.equal(studio.finish(), true);
  assert.deepEqual([kinds(), studio.tool.busy()], [['polygon'], false]);
  [[10, 10], [50, 10]].forEach((point) => click(point));
  assert.equal(studio.finish(), false);
  assert.deepEqual([kinds(), studio.tool.busy(), studio.finish()], [['polygon'], false, true]);
});
test('the eraser says that boxes and polygons are no masks, where it meets one', () => {
  studio.open(document(makeBox(0, [10, 10, 30, 30]), makePolygon(1, [[50, 10, 70, 10, 70, 30, 50, 30]])), {kind: 'objects', size: SIZE});
  studio.useTool('eraser');
  studio.radius = 2;
  drag([45, 50], [46, 50]);
  assert.deepEqual(said, []);
  drag([20, 20], [22, 20]);
  drag([60, 20], [62, 20]);
  assert.deepEqual([said, saved.length], [['eraseMask', 'eraseMask'], 0]);
  studio.open(document(makeMask(0, square(10, 10, 30, 30), SIZE), makeBox(0, [10, 10, 30, 30])), {kind: 'objects', size: SIZE});
  drag([20, 20], [22, 20]);
  assert.deepEqual([said.length, saved.length], [2, 1]);
});
test('the first stroke says once how the next one begins another object', () => {
  studio.useTool('brush');
  drag([10, 10], [20, 10]);
  drag([40, 10], [50, 10]);
  studio.setClass(1);
  drag([60, 60], [65, 60]);
  assert.deepEqual(said, ['strokeGoesOn']);
  said.length = 0;
  studio.strokeTold = false;
  studio.open(document(), {kind: 'mask', size: SIZE});
  drag([10, 10], [20, 10]);
  assert.deepEqual(said, []);
});
test('background is what is left: painting it takes the others away', () => {
  studio.classes = [{name: 'Background '}, {name: 'b'}, {name: 'c'}];
  for (const kind of ['mask', 'layers']) {
    studio.open(document(makeMask(1, square(10, 10, 30, 30), SIZE)), {kind, size: SIZE});
    studio.setClass(0);
    studio.useTool('box');
    drag([10, 10], [30, 20]);
    assert.deepEqual(studio.doc.shapes.map((shape) => [shape.cls, areaOf(shape)]), [[1, 200]]);
    drag([50, 50], [70, 70]);
    assert.deepEqual([studio.doc.shapes.length, said.at(-1)], [1, 'background']);
    studio.useTool('select');
    studio.select([studio.doc.shapes[0].id]);
    studio.setClass(0);
    assert.deepEqual([studio.doc.shapes, studio.doc.looked], [[], true]);
  }
  studio.open({...document(makeMask(1, square(10, 10, 30, 30), SIZE)), shapes: [makeMask(1, square(10, 10, 30, 30), SIZE), {...makeMask(0, square(10, 10, 20, 30), SIZE), state: 'suggested', score: 0.9}]}, {kind: 'mask', size: SIZE});
  studio.accept();
  assert.deepEqual(studio.doc.shapes.map((shape) => [shape.cls, shape.state, areaOf(shape)]), [[1, 'truth', 200]]);
});
