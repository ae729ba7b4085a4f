import assert from 'node:assert/strict';
import {test} from 'node:test';
import {Assist} from '../../ui/annotator/assist.js';
import {makeBox} from '../../ui/annotator/shapes.js';
import {View} from '../../ui/annotator/view.js';

const text = (key, values = {}) => `${key} ${JSON.stringify(values)}`;
const running = (job) => Assist.prototype.running.call({text}, job);

test('a cross-check tells its share and the model at work, from before the first step to the last', () => {
  const at = (done, total = 1000) => JSON.parse(running({work: 'kfold', done, total, folds: 3}).replace('assist.runningFold ', ''));
  assert.deepEqual([at(0, 0), at(0), at(332), at(334), at(1000)].map(({share, fold, folds}) => [share, fold, folds]),
    [[0, 1, 3], [0, 1, 3], [33, 1, 3], [33, 2, 3], [100, 3, 3]]);
});
test('other work counts images', () => {
  assert.match(running({work: 'rank', done: 1200, total: 3400}), /assist\.running .*"done":"1,200","total":"3,400"/);
});
test('over a derived object the pointer says so, over others and beside it nothing', () => {
  const view = new View();
  view.resize(1000, 800);
  view.setImage([100, 80]);
  const shapes = [{...makeBox(0, [10, 10, 30, 30]), derived: true}, makeBox(1, [50, 10, 70, 30])];
  const stage = {title: ''}, studio = {view, shown: () => shapes, pointer: null}, assist = {studio, text: (key) => key, lab: {part: {stage}}};
  const over = (point) => { studio.pointer = point && view.toScreen(point); Assist.prototype.tip.call(assist); return stage.title; };
  assert.deepEqual([[20, 20], [60, 20], [20, 20], [90, 70], null].map(over), ['derivedTip', '', 'derivedTip', '', '']);
});
test('after the last suspicious label the list is finished, and its frame goes', async () => {
  const said = [], studio = {mistake: null, refresh() {}, useTool() {}, select() {}, doc: {shapes: []}, view: {show() {}}};
  const each = {image: 7, kind: 'missed', name: 'a', box: [1, 1, 9, 9], cls: 0, score: 0.9};
  const answers = [{suspects: []}, {suspects: [each]}, {suspects: []}, {suspects: []}];
  const lab = {image: 7, studio, hint: (words) => said.push(words), viewed() {}, call: async () => ({models: [], waiting: 0, job: null, ranked: 0, ...answers.shift()})};
  const assist = Object.assign(Object.create(Assist.prototype), {lab, studio, text: (key) => key, suspects: [], at: -1, show() {}});
  for (let i = 0; i < 4; i += 1) {
    await assist.nextSuspect();
    assert.equal(studio.mistake !== null, i === 1);
  }
  assert.deepEqual(said, ['assist.noSuspects', 'missed: a', 'assist.suspectsDone', 'assist.suspectsDone']);
});
test('a model that finds nothing new says when no tag is open', () => {
  const words = (kind, tags, count = 0, missing = []) => Assist.prototype.foundWords.call({studio: {kind, doc: {tags}}}, count, missing);
  assert.deepEqual([words('tags', [1, 0]), words('tags', [1, null]), words('objects', null), words('tags', [1, 0], 0, ['x']), words('tags', [1, null], 2)],
    ['assist.noTagOpen', 'assist.foundNone', 'assist.foundNone', 'assist.missing', 'assist.found']);
});
