// What opens over the canvas: the list of keys, the history of an image, a list of classes to paste, a cross-check, labels of another kind.
import {docFromWire} from './documents.js';
import {iconButton, make} from './dom.js';
import {keyList, versionList} from './layout.js';

const head = (title, text, close) => make('div', {class: 'lb-an-dialog-head'}, make('h3', {}, title), iconButton('close', text('close'), close));
const show = (dialog, small, ...parts) => {
  dialog.classList.toggle('lb-an-small', small);
  dialog.replaceChildren(...parts);
  if (!dialog.open) dialog.showModal();
};

export const showHelp = ({part: {dialog}, text}) => {
  if (dialog.open) { dialog.close(); return; }
  show(dialog, false, ...keyList(text, () => dialog.close()));
};
export const showVersions = (lab) => {
  const {part: {dialog}, image} = lab, close = () => dialog.close();
  const restore = (revision) => {
    close();
    lab.asking('restore', {image, revision}, ({document: kept}) => lab.studio.restore(docFromWire(kept)));
  };
  return lab.asking('versions', {image}, ({versions}) => {
    show(dialog, false, ...versionList(lab.text, versions, restore, close));
  });
};
// One class a line; what is there already is left alone.
export const pasteClasses = (lab) => {
  const {part: {dialog}, text} = lab, close = () => dialog.close();
  const field = make('textarea', {class: 'lb-an-search lb-an-paste', rows: 10, 'aria-label': text('classList'), placeholder: text('classListHint')}), failed = make('p', {role: 'alert', class: 'lb-an-failed'});
  const add = async () => {
    try {
      const answer = await lab.call('classes', {text: field.value});
      if (answer.error) { failed.textContent = `${answer.error.message} ${answer.error.remedy}`; return; }
      lab.useClasses(answer.classes);
      close();
    } catch { failed.textContent = text('offline'); }
  };
  show(dialog, true, head(text('classList'), text, close), field, failed, make('button', {type: 'button', class: 'lb-an-button', onclick: add}, text('addClasses')));
  field.focus();
};
// Small models are trained to find label errors: what that does, and how long it may take.
export const crossCheck = (lab) => {
  const {part: {dialog}, text} = lab, close = () => dialog.close();
  return lab.asking('crosscheck', {}, ({problem, images, folds, minutes, model, done}) => {
    const title = head(text('assist.crossCheck'), text, close), what = make('p', {}, text('cross.what', {folds: folds ?? 3}));
    if (problem) { show(dialog, true, title, what, make('p', {class: 'lb-an-failed', role: 'alert'}, problem)); return; }
    const field = make('input', {type: 'number', class: 'lb-an-search lb-an-number', min: 1, max: 10000, value: minutes}), failed = make('p', {class: 'lb-an-failed', role: 'alert'});
    const words = make('p', {class: 'lb-an-muted'}), told = () => { words.textContent = text('cross.facts', {folds, model, images: images.toLocaleString('en'), minutes: field.value || '-'}); };
    const begin = () => {
      const wanted = Number(field.value);
      if (!(wanted >= 1 && wanted <= 10000)) { failed.textContent = text('cross.minutesWrong'); field.focus(); return; }
      close();
      lab.assist.crossCheck(wanted);
    };
    field.addEventListener('input', told);
    told();
    show(dialog, true, title, what, make('label', {class: 'lb-an-check'}, field, text('cross.minutes')), words,
      done ? make('p', {class: 'lb-an-muted'}, text('cross.goesOn', {share: Math.floor(100 * done)})) : '', failed,
      make('div', {class: 'lb-an-actions'}, make('button', {type: 'button', class: 'lb-an-button lb-an-primary', onclick: begin}, text(done ? 'cross.goOn' : 'cross.start'))));
    field.focus();
  });
};
// Labels of the kind that is missing, from those that are there: for the open image, or for all.
export const deriveLabels = (lab) => {
  const {part: {dialog}, text, image} = lab, close = () => dialog.close();
  return lab.asking('derivable', {image}, ({kinds, complete, looked, images}) => {
    const failed = make('p', {class: 'lb-an-failed', role: 'alert'}), number = (n) => n.toLocaleString('en');
    const fillIn = async (button, values) => {
      if (lab.outbox.busy || lab.outbox.conflicts.size) { failed.textContent = text('derive.unsaved'); return; }
      button.disabled = true;
      failed.textContent = '';
      const answer = await lab.call('derive', values).catch(() => null);
      button.disabled = false;
      if (!answer || answer.error) { failed.textContent = answer ? `${answer.error.message} ${answer.error.remedy}` : text('offline'); return; }
      close();
      await derived(lab, answer);
    };
    const line = ({what, here, count}) => {
      const one = make('button', {type: 'button', class: 'lb-an-button', 'data-derive': `${what}/one`, disabled: !here, onclick: () => fillIn(one, {what, image})}, text('derive.one'));
      const all = make('button', {type: 'button', class: 'lb-an-button', 'data-derive': `${what}/all`, disabled: !count, onclick: () => fillIn(all, {what})},
        text(complete ? 'derive.all' : 'derive.allLeast', {n: number(count)}));
      return make('section', {class: 'lb-an-derive'}, make('h4', {}, text(`derive.${what}`)), make('p', {class: 'lb-an-muted'}, text(`derive.${what}.help`)), make('div', {class: 'lb-an-actions'}, one, all));
    };
    const least = complete ? '' : make('p', {class: 'lb-an-muted'}, text('derive.least', {looked: number(looked), images: number(images)}));
    show(dialog, true, head(text('derive'), text, close), make('p', {}, text(kinds.length ? 'derive.what' : 'derive.nothing')), ...kinds.map(line), least, failed);
  });
};
const derived = async (lab, {images, edit}) => {
  const {text} = lab, again = async () => { await lab.open(lab.image); await lab.strip.refill(lab.image ?? 0); lab.strip.render(); };
  const back = async () => {
    if (await lab.assist.tell('underive', {edit})) { await again(); lab.hint(text('derive.undone')); }
  };
  await again();
  lab.notice(text('derive.done', {n: images.toLocaleString('en')}), [...(edit === null ? [] : [[text('key.undo'), back]]), [text('close'), () => lab.quiet()]], true);
};
