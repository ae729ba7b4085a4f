import assert from 'node:assert/strict';
import {beforeEach, test} from 'node:test';
import {closeDisplay} from '../../ui/annotator/adjust.js';
import {Lab} from '../../ui/annotator/lab.js';
import {showRefused, tellSaving} from '../../ui/annotator/saving.js';

// As much of a canvas as saving and going from image to image touches; `log` is what was asked of its parts.
let lab, log;
beforeEach(() => {
  log = [];
  const note = (name) => (...values) => { log.push([name, ...values]); };
  lab = Object.assign(Object.create(Lab.prototype), {image: 7, facts: {id: 7, state: 'unlabeled'}, hintText: '', asked: 0, drawing: 1,
    text: (key, values = {}) => [key, ...Object.values(values)].join(' '), part: {saved: {dataset: {}}, notice: {hidden: true}, hint: {}, display: {hidden: true}, stage: {}},
    notice(words, choices) { this.part.notice.hidden = false; this.choices = Object.fromEntries(choices); log.push(['notice', words]); },
    strip: {mark: note('mark'), refill: async (...values) => { log.push(['refill', ...values]); }, render: note('render'), neighbour: async () => 8, useClasses: note('classes'), images: []},
    outbox: {refused: new Map(), revisions: new Map(), waiting: new Map(), conflicts: new Map(), tokens: new Set(), pending: () => false, put: note('put'), drop(image) { this.refused.delete(image); log.push(['drop', image]); }},
    assist: {refresh: async () => { log.push(['assist']); }, watch: note('watch')},
    studio: {doc: {shapes: []}, tool: {cancel: note('cancel')}, useClasses: note('useClasses'), refresh() {}, mistake: null},
  });
});
const refuse = (image) => {
  const error = {message: 'These labels could not be read: box.', remedy: 'Undo.'};
  lab.outbox.refused.set(image, {doc: {}, error});
  tellSaving(lab, 'refused', {image, error});
};

test('a refused image says so with its reason, and the strip shows what the server has', () => {
  refuse(7);
  assert.equal(lab.part.saved.textContent, 'notSavedRefused These labels could not be read: box. Undo.');
  assert.deepEqual(log, [['mark', 7, 'unlabeled'], ['notice', 'refused These labels could not be read: box. Undo.']]);
  tellSaving(lab, 'saved', {image: 8, answer: {}});
  assert.deepEqual([lab.part.saved.dataset.state, lab.part.notice.hidden], ['refused', false]);
  lab.part.notice.hidden = true;
  showRefused(lab);
  assert.equal(lab.part.notice.hidden, false);
  tellSaving(lab, 'saved', {image: 7, answer: {revision: 3, document: {looked: true, shapes: [], tags: null}}});
  assert.deepEqual([lab.part.saved.dataset.state, lab.part.notice.hidden], ['saved', true]);
});
test('refused edits are taken back: what the server has is opened again', async () => {
  const opened = [];
  lab.open = async (id) => opened.push(id);
  refuse(7);
  await lab.choices.takeBack();
  assert.deepEqual([opened, log.slice(-2)], [[7], [['drop', 7], ['cancel']]]);
});
test('an image that is refused while another one is open can be opened from the message', async () => {
  const opened = [];
  lab.open = async (id) => opened.push(id);
  refuse(9);
  await lab.choices.openIt();
  assert.deepEqual([opened, log[0], log[1]], [[9], ['refill', 7], ['notice', 'refusedElsewhere']]);
});
test('when the page is seen again the assistant is asked anew, also while an edit waits', async () => {
  lab.asking = () => {};
  lab.outbox.pending = () => true;
  lab.back();
  await null;
  await null;
  assert.deepEqual(log, [['assist'], ['watch']]);
});
test('going on keeps the outline in the hand, and says when it was too short', async () => {
  lab.call = () => new Promise(() => {});
  lab.picture = () => new Promise(() => {});
  for (const [kept, words] of [[true, ''], [false, 'hint.dropped']]) {
    lab.studio.finish = () => kept;
    lab.open(8);
    assert.equal(lab.hintText, words);
  }
  lab.studio.finish = () => { log.push(['finish']); };
  lab.open(7);
  assert.deepEqual(log, [['cancel']]);
});
test('a hint goes when an edit is made, when classes come, and when another tool is taken', () => {
  lab.wire = (doc) => doc;
  lab.hint('3 suggestions');
  lab.save({looked: true, shapes: [], tags: null, mark: null});
  assert.equal(lab.hintText, '');
  lab.hint(lab.text('hint.noClass'));
  lab.useClasses([{name: 'a'}]);
  assert.equal(lab.hintText, '');
  lab.studio.useTool = () => {};
  lab.hint('3 suggestions');
  lab.take('box');
  assert.equal(lab.hintText, '');
  lab.studio.mistake = {words: 'missed: a'};
  lab.hint('missed: a');
  lab.take('box');
  assert.equal(lab.hintText, 'missed: a');
});
test('Escape closes the panel of tones before it changes the tool, and a press beside it closes it too', () => {
  const used = [], inside = {}, button = {contains: (target) => target === 'button'};
  Object.assign(lab.studio, {tools: {}, view: {}, selection: new Set(), target: null, useTool: (name) => used.push(name), painter: {request() {}}});
  lab.viewed = () => {};
  Object.assign(lab.part, {root: {querySelector: () => button}, display: {hidden: false, contains: (target) => target === inside}});
  lab.act('cancel');
  assert.deepEqual([lab.part.display.hidden, used], [true, []]);
  lab.act('cancel');
  assert.deepEqual(used, ['select']);
  const after = (target) => { lab.part.display.hidden = false; closeDisplay(lab, target); return lab.part.display.hidden; };
  assert.deepEqual([inside, 'button', 'canvas'].map(after), [false, false, true]);
});
