import assert from 'node:assert/strict';
import {beforeEach, test} from 'node:test';
import {docFromWire, docToWire, stateOf} from '../../ui/annotator/documents.js';
import {emptyRaster} from '../../ui/annotator/runs.js';
import {areaOf, makeMask, toWire} from '../../ui/annotator/shapes.js';
import {Studio} from '../../ui/annotator/studio.js';
import {selectTool} from '../../ui/annotator/tools_box.js';

const SIZE = [100, 80];
const box = (x, score, cls = 0) => ({kind: 'box', cls, box: [x, 10, x + 8, 20], ...(score === undefined ? {} : {state: 'suggested', score})});
const mask = (cls, frame, score) => {
  const raster = emptyRaster(frame);
  raster.bits.fill(1);
  return {...toWire(makeMask(cls, raster, SIZE)), ...(score === undefined ? {} : {state: 'suggested', score})};
};
let studio, said, saved;
const open = (wire, kind = 'objects') => {
  studio.open(docFromWire({looked: false, tags: null, shapes: [], suggested_at: 'then', ...wire}), {kind, size: SIZE});
  studio.useTool('select');
};
const scores = () => studio.doc.shapes.filter(({state}) => state === 'suggested').map(({score}) => score);

beforeEach(() => {
  said = [];
  saved = [];
  studio = new Studio({saved: (doc) => saved.push(doc), changed: () => {}, say: (key) => said.push(key)});
  studio.classes = ['a', 'b', 'c'].map((name) => ({name, color: '#E69F00'}));
  studio.view.resize(1000, 800);
  studio.view.setImage(SIZE);
  studio.tools = {select: selectTool(studio)};
});

test('suggestions below the threshold are neither shown nor accepted', () => {
  open({shapes: [box(1, 0.9), box(20, 0.4), box(40, 0.2)]});
  studio.threshold = 0.3;
  assert.equal(studio.shown().length, 2);
  studio.accept();
  assert.deepEqual(scores(), [0.2]);
});
test('one is accepted at a time, the surest first, and the next one is chosen', () => {
  open({shapes: [box(1, 0.5), box(20, 0.9), box(40, 0.7)]});
  studio.nextSuggestion();
  studio.accept();
  assert.deepEqual(scores(), [0.5, 0.7]);
  studio.accept();
  assert.deepEqual(scores(), [0.5]);
  studio.undo();
  assert.deepEqual(scores(), [0.5, 0.7]);
});
test('taking one suggestion away does not say that a person has looked; accepting one does', () => {
  open({shapes: [box(1, 0.5), box(20, 0.9)]});
  studio.select([studio.doc.shapes[0].id]);
  studio.remove();
  assert.deepEqual([studio.doc.looked, stateOf(studio.doc)], [false, 'suggested']);
  studio.accept();
  assert.deepEqual([studio.doc.looked, stateOf(studio.doc)], [true, 'labeled']);
});
test('discarding all suggestions leaves an image where nothing is', () => {
  open({shapes: [box(1, 0.5), box(20, 0.05)]});
  studio.discard();
  assert.deepEqual([studio.doc.shapes.length, stateOf(studio.doc)], [0, 'labeled']);
});
test('an image with open suggestions cannot be checked; faint ones go with the mark', () => {
  open({shapes: [box(1, 0.5), box(20, 0.05), box(40)]});
  studio.mark('checked');
  assert.deepEqual(said, ['acceptFirst']);
  studio.accept();
  studio.mark('checked');
  assert.deepEqual([studio.doc.mark, studio.doc.shapes.length], ['checked', 2]);
});
test('what was not touched is sent back as it came', () => {
  open({shapes: [box(1, 0.5), {...box(20), derived: true}], suggested_tags: null});
  const wire = docToWire(studio.doc, ['a']);
  assert.deepEqual([wire.shapes[0].score, wire.shapes[1].derived, wire.suggested_at], [0.5, true, 'then']);
  studio.select([studio.doc.shapes[1].id]);
  studio.nudge([1, 0]);
  assert.equal(docToWire(studio.doc, ['a']).shapes[1].derived, undefined);
});
test('suggested tags are accepted above the threshold, or the best one where there is one each', () => {
  open({tags: [null, null, 0], suggested_tags: [0.9, 0.2, 0.6]}, 'tags');
  assert.equal(stateOf({...studio.doc, looked: false}), 'suggested');
  studio.threshold = 0.5;
  studio.accept();
  assert.deepEqual([studio.doc.tags, studio.doc.hints], [[1, null, 1], null]);
  studio.oneTag = true;
  open({tags: [null, null, null], suggested_tags: [0.7, 0.8, 0.6]}, 'tags');
  studio.accept();
  assert.deepEqual(studio.doc.tags, [0, 1, 0]);
});
test('a tag that a person sets takes its suggestion away', () => {
  open({tags: [null, null, null], suggested_tags: [0.7, null, 0.6]}, 'tags');
  studio.tag(0, 0);
  assert.deepEqual([studio.doc.tags, studio.doc.hints], [[0, null, null], [null, null, 0.6]]);
});
test('a suggested area is painted when it is accepted, and painting around it leaves it alone', () => {
  open({shapes: [mask(0, [0, 0, 20, 10]), mask(1, [10, 0, 30, 10], 0.8)]}, 'mask');
  const raster = emptyRaster([12, 0, 16, 10]);
  raster.bits.fill(1);
  studio.setClass(2);
  studio.paintArea(raster);
  assert.deepEqual(studio.doc.shapes.map((shape) => areaOf(shape)), [160, 200, 40]);
  studio.accept();
  assert.deepEqual(studio.doc.shapes.map((shape) => [shape.cls, shape.state, areaOf(shape)]), [[0, 'truth', 100], [1, 'truth', 200]]);
});
