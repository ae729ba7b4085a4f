import assert from 'node:assert/strict';
import {test} from 'node:test';
import {figure, objectCounts} from '../../ui/annotator/panel.js';

const shape = (cls, score) => ({cls, state: score === undefined ? 'truth' : 'suggested', score});
test('classes count objects, with the suggestions that are shown apart, and agree with the count of all', () => {
  const doc = {shapes: [shape(0), shape(0), shape(1), shape(0, 0.9), shape(1, 0.1), shape(2, 0.2), shape(2, 0.6)]};
  const studio = {doc, isFaint: ({state, score}) => state === 'suggested' && score < 0.5}, {all, classes} = objectCounts(studio);
  assert.deepEqual([figure(all), [0, 1, 2, 3].map((cls) => figure(classes.get(cls)))], ['3 + 2', ['2 + 1', '1', '0 + 1', '']]);
  assert.deepEqual(figure(objectCounts({...studio, doc: {shapes: []}}).all), '0');
});
