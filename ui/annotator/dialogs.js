// What opens over the canvas: the list of keys, the history of an image, a list of classes to paste.
import {docFromWire} from './documents.js';
import {iconButton, make} from './dom.js';
import {keyList, versionList} from './layout.js';

export const showHelp = ({part: {dialog}, text}) => {
  if (dialog.open) { dialog.close(); return; }
  dialog.replaceChildren(...keyList(text, () => dialog.close()));
  dialog.showModal();
};
export const showVersions = (lab) => {
  const {part: {dialog}, image} = lab, close = () => dialog.close();
  const restore = (revision) => {
    close();
    lab.asking('restore', {image, revision}, ({document: kept}) => {
      const {looked, shapes, tags} = docFromWire(kept), open = lab.studio.doc.shapes.filter(({state}) => state === 'suggested');
      lab.studio.commit({looked, shapes: [...shapes, ...open], tags: tags ?? lab.studio.doc.tags?.map(() => null) ?? null});
    });
  };
  return lab.asking('versions', {image}, ({versions}) => {
    dialog.replaceChildren(...versionList(lab.text, versions, restore, close));
    dialog.showModal();
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
  dialog.replaceChildren(make('div', {class: 'lb-an-dialog-head'}, make('h3', {}, text('classList')), iconButton('close', text('close'), close)), field, failed,
    make('button', {type: 'button', class: 'lb-an-button', onclick: add}, text('addClasses')));
  dialog.showModal();
  field.focus();
};
