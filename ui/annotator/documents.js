// Documents of labels as the server sends them and gets them back, and what two people's versions have in common.
import {bothOf, fromWire, sameDocument, toWire} from './shapes.js';

// `hints`: what a model suggests of tags, a score a class; `suggestedAt` names the suggestions that stand among the shapes and hints.
export const docFromWire = (sent) => ({looked: sent.looked, shapes: sent.shapes.map(fromWire), tags: sent.tags, mark: sent.mark ?? null,
  hints: sent.suggested_tags ?? null, suggestedAt: sent.suggested_at ?? null});
// `names` of the classes go along: ids move when somebody deletes a class.
export const docToWire = (doc, names) => ({looked: doc.looked, shapes: doc.shapes.map(toWire), tags: doc.tags, mark: doc.mark, classes: names,
  suggested_tags: doc.hints ?? null, suggested_at: doc.suggestedAt ?? undefined});
// A document whose class ids are those of the list `before`, in ids of the list `after`. A class that has another name at the same place in a
// list of the same length was renamed; shapes of classes that are gone go as well.
export const renumbered = (doc, before, after) => {
  if (!before || before.every((name, i) => after[i] === name)) return doc;
  const place = before.map((name, i) => (after.includes(name) ? after.indexOf(name) : before.length === after.length ? i : null));
  const [tags, hints] = [doc.tags, doc.hints].map((list) => (list ? after.map((name, i) => { const at = place.indexOf(i); return at < 0 ? null : list[at] ?? null; }) : null));
  return {...doc, tags, hints, shapes: doc.shapes.filter(({cls}) => cls < 0 || place[cls] !== null).map((shape) => (shape.cls < 0 ? shape : {...shape, cls: place[shape.cls]}))};
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
// Theirs with what I added; of tags, those that I changed.
export const merged = (base, mine, theirs) => ({
  looked: mine.looked || theirs.looked, mark: null, hints: theirs.hints ?? null, suggestedAt: theirs.suggestedAt ?? null, shapes: bothOf(base.shapes, mine.shapes, theirs.shapes),
  tags: theirs.tags && mine.tags ? theirs.tags.map((value, i) => (mine.tags[i] !== base.tags?.[i] ? mine.tags[i] : value)) : theirs.tags ?? mine.tags,
});
