// Documents of labels as the server sends them and gets them back, and what two people's versions have in common.
import {paintedBoth} from './both.js';
import {bothOf, fromWire, sameDocument, toWire} from './shapes.js';

// `hints`: what a model suggests of tags, a score a class; `suggestedAt` names the suggestions that stand among the shapes and hints.
export const docFromWire = (sent) => ({looked: sent.looked, shapes: sent.shapes.map(fromWire), tags: sent.tags, mark: sent.mark ?? null,
  hints: sent.suggested_tags ?? null, suggestedAt: sent.suggested_at ?? null});
// The keys of the classes go along: ids move when somebody deletes, merges or adds a class, keys never do.
export const docToWire = (doc, keys) => ({looked: doc.looked, shapes: doc.shapes.map(toWire), tags: doc.tags, mark: doc.mark, classes: keys,
  suggested_tags: doc.hints ?? null, suggested_at: doc.suggestedAt ?? ''});
export const keysOf = (classes) => classes.map(({keys}) => keys[0]);
// A document whose ids stand for the classes `before` (keys; names in copies of an older version), in the ids of `classes`, of which each knows all
// keys that lead to it. Shapes of classes that are gone go as well; of tags that became one the larger counts.
export const renumbered = (doc, before, classes) => {
  if (!before || (before.length === classes.length && before.every((key, i) => classes[i].keys[0] === key))) return doc;
  const place = before.map((key) => { const at = classes.findIndex(({keys, name}) => keys.includes(key) || name === key); return at < 0 ? null : at; });
  const largest = (list, i) => list.reduce((most, value, at) => (place[at] === i && value !== null && (most === null || value > most) ? value : most), null);
  const [tags, hints] = [doc.tags, doc.hints].map((list) => (list ? classes.map((each, i) => largest(list, i)) : list ?? null));
  const there = ({cls}) => cls < 0 || (place[cls] ?? null) !== null;
  return {...doc, tags, hints, shapes: doc.shapes.filter(there).map((shape) => (shape.cls < 0 ? shape : {...shape, cls: place[shape.cls]}))};
};
export const stateOf = (doc) => {
  if (doc.mark === 'skipped') return 'skipped';
  if (!doc.looked) return isOpen(doc) ? 'suggested' : 'unlabeled';
  return doc.mark === 'checked' ? 'checked' : 'labeled';
};
// Is something suggested that nobody has accepted or discarded?
export const isOpen = (doc) => doc.shapes.some((shape) => shape.state === 'suggested') || (doc.hints ?? []).some((score) => score !== null);
// Has a person looked at it once this is saved? Taking away one of several suggestions does not say so.
export const isLooked = (doc) => doc.looked || !isOpen(doc) || doc.shapes.some((shape) => shape.state !== 'suggested') || (doc.tags ?? []).some((value) => value !== null);
export const sameWire = (a, b) => sameDocument(docFromWire(a), docFromWire(b)) && (a.mark ?? null) === (b.mark ?? null);
// Theirs with what I added; of tags, those that I changed, of painted areas the pixels.
export const merged = (base, mine, theirs, {kind = 'objects', size} = {}) => ({
  looked: mine.looked || theirs.looked, mark: null, hints: theirs.hints ?? null, suggestedAt: theirs.suggestedAt ?? null, shapes: kind === 'mask' || kind === 'layers' ? paintedBoth(base.shapes, mine.shapes, theirs.shapes, {size, exclusive: kind === 'mask'})
    : bothOf(base.shapes, mine.shapes, theirs.shapes),
  tags: theirs.tags && mine.tags ? theirs.tags.map((value, i) => (mine.tags[i] !== base.tags?.[i] ? mine.tags[i] : value)) : theirs.tags ?? mine.tags,
});
