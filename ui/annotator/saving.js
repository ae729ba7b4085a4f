// What saving says to a person: that it is done, that it waits, or that the server does not take it.
import {docFromWire} from './documents.js';
import {clockTime} from './dom.js';

const reasonOf = ({message, remedy}) => `${message} ${remedy ?? ''}`.trim();

export const tellSaving = (lab, state, {image, answer, error, kept, mine, theirs}) => {
  const {text, part, studio} = lab, here = image === lab.image;
  if (state === 'saved' && !here && lab.outbox.refused.has(lab.image)) return;  // what is open is not saved, and keeps saying so
  const words = {saving: () => text('saving'), saved: () => text('saved', {at: clockTime()}), lost: () => text(kept ? 'notSavedKept' : 'notSaved'),
    conflict: () => text('notSavedConflict'), refused: () => text('notSavedRefused', {reason: reasonOf(error)})};
  part.saved.textContent = words[state]();
  part.saved.dataset.state = state;
  if (state === 'saved' && here) {
    lab.facts = {...lab.facts, ...answer};
    studio.base = answer.document ? docFromWire(answer.document) : studio.doc;
    part.notice.hidden = true;
  }
  if (state === 'refused') tellRefused(lab, image);
  if (state === 'conflict' && theirs) {
    if (here) lab.ask({mine, theirs});
    else lab.notice(text('conflictElsewhere'), [[text('openIt'), () => lab.open(image)]]);
  }
};
// The strip shows what the server has.
const tellRefused = (lab, image) => {
  if (image === lab.image) lab.strip.mark(image, lab.facts.state);
  else lab.strip.refill(lab.image ?? 0).then(() => lab.strip.render()).catch(() => {});
  showRefused(lab, image);
  lab.later();
};
// Edits that the server does not take stay in this browser until a later one is saved, or a person takes them back.
export const showRefused = (lab, image = lab.image) => {
  const {text, part, outbox} = lab, found = outbox.refused.get(image);
  if (!found) return;
  if (image !== lab.image) { lab.notice(text('refusedElsewhere'), [[text('openIt'), () => lab.open(image)]]); return; }
  const reason = reasonOf(found.error), again = () => outbox.put(image, lab.wire(lab.studio.doc));
  part.saved.textContent = text('notSavedRefused', {reason});
  part.saved.dataset.state = 'refused';
  lab.notice(text('refused', {reason}), [[text('tryAgain'), again], [text('takeBack'), () => takeBack(lab, image)]]);
};
const takeBack = (lab, image) => {
  lab.outbox.drop(image);
  lab.studio.tool.cancel();
  return lab.open(image);
};
