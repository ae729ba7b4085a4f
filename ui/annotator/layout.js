// The parts of the page and where they stand: tools left, canvas in the middle, classes right, the strip of images below.
import {KEYS, keyName} from './keys.js';
import {fill, iconButton, make} from './dom.js';
import {PLAIN} from './picture.js';

const RAIL = [['select', 'v'], ['box', 'r'], ['polygon', 'p'], ['brush', 'm'], ['eraser', 'x'], ['fill', 'f'], ['points', 'q']];

export const layout = (root, text, act, {panel, strip, pointers}) => {
  const part = {root};
  part.base = make('canvas', {class: 'lb-an-base', 'aria-hidden': 'true'});
  part.top = make('canvas', {class: 'lb-an-top', 'aria-hidden': 'true'});
  part.notice = make('div', {class: 'lb-an-notice', hidden: true, role: 'alert'});
  part.stage = make('div', {class: 'lb-an-stage', tabindex: 0, role: 'application', 'aria-label': text('canvas')}, part.base, part.top, part.notice);
  part.rail = make('div', {class: 'lb-an-rail', role: 'toolbar', 'aria-label': text('toolbar')},
    panel.quick, ...RAIL.map(([name, key]) => iconButton(name, `${text(`key.${name}`)} (${key.toUpperCase()})`, () => { act(name); act('focus'); }, {'data-tool': name})),
    make('hr'), iconButton('undo', `${text('key.undo')} (Ctrl + Z)`, () => act('undo'), {'data-do': 'undo'}),
    iconButton('redo', `${text('key.redo')} (Ctrl + Y)`, () => act('redo'), {'data-do': 'redo'}),
    make('hr'), iconButton('plus', `${text('key.zoomIn')} (+)`, () => act('zoomIn')), iconButton('minus', `${text('key.zoomOut')} (-)`, () => act('zoomOut')),
    iconButton('fit', `${text('key.fit')} (Z)`, () => act('fit')), make('hr'),
    iconButton('eye', `${text('key.hide')} (H)`, () => act('hide'), {'data-do': 'hide', 'aria-pressed': 'false'}),
    iconButton('tones', text('display'), () => { part.display.hidden = !part.display.hidden; }, {'aria-haspopup': 'true', 'data-do': 'display'}),
    iconButton('help', `${text('key.help')} (?)`, () => act('help')));
  [part.undo, part.redo] = ['undo', 'redo'].map((name) => part.rail.querySelector(`[data-do=${name}]`));
  part.name = make('b', {class: 'lb-an-cut lb-an-name'});
  part.chip = make('span', {class: 'lb-an-chip'});
  part.head = make('div', {class: 'lb-an-head'}, iconButton('back', `${text('key.previous')} (A)`, () => act('previous'), {'data-do': 'previous'}),
    iconButton('next', `${text('key.next')} (D)`, () => act('next'), {'data-do': 'next'}), make('div', {class: 'lb-an-title'}, part.name, strip.place), part.chip,
    make('div', {class: 'lb-an-marks'}, markButton('nothing', 'none', 'N'), markButton('skip', 'skip', 'S'), markButton('checked', 'check', 'Y'),
      iconButton('copy', `${text('key.copyPrevious')} (Ctrl + P)`, () => act('copyPrevious')),
      iconButton('clock', text('history'), () => act('history'), {'aria-haspopup': 'dialog'})), strip.order, strip.filter, strip.more, strip.bar);
  part.saved = make('span', {class: 'lb-an-saved', role: 'status'});
  part.where = make('span', {class: 'lb-an-where'});
  part.hint = make('span', {class: 'lb-an-hint lb-an-muted'});
  part.status = make('div', {class: 'lb-an-status'}, part.saved, part.hint, part.where);
  part.display = display(text, act);
  part.dialog = make('dialog', {class: 'lb-an-dialog', onclick: (event) => { if (event.target === part.dialog) part.dialog.close(); }});
  part.stage.append(part.display, pointers.element);
  root.replaceChildren(part.head, part.rail, part.stage, panel.element, strip.list, part.status, part.dialog, strip.popover);
  return part;

  function markButton(name, icon, key) {
    return iconButton(icon, `${text(`key.${name}`)} (${key})`, () => { act(name); act('focus'); }, {'data-do': name});
  }
};

const display = (text, act) => {
  const fields = {};
  const slider = (name, low, high, value, step = 1) => {
    fields[name] = make('input', {type: 'range', min: low, max: high, step, value, oninput: send});
    return make('label', {}, make('span', {}, text(`show.${name}`)), fields[name]);
  };
  const box = (name, value) => {
    fields[name] = make('input', {type: 'checkbox', checked: value, onchange: send});
    return make('label', {class: 'lb-an-check'}, fields[name], text(`show.${name}`));
  };
  const send = () => act('display', Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, field.type === 'checkbox' ? field.checked : Number(field.value)])));
  const reset = () => {
    for (const [name, value] of Object.entries({...PLAIN, opacity: 0.35})) if (fields[name].type === 'checkbox') fields[name].checked = value; else fields[name].value = value;
    send();
  };
  const element = make('div', {class: 'lb-an-display', hidden: true, role: 'group', 'aria-label': text('display')},
    slider('brightness', -100, 100, 0), slider('contrast', -100, 100, 0), slider('low', 0, 254, 0), slider('high', 1, 255, 255), box('invert', false),
    slider('opacity', 0, 1, 0.35, 0.05), slider('radius', 1, 200, 12), box('names', true), box('cross', false), box('brushPolygon', false),
    make('button', {type: 'button', class: 'lb-an-button', onclick: reset}, text('show.reset')));
  for (const kind of ['pointerdown', 'wheel', 'dblclick']) element.addEventListener(kind, (event) => event.stopPropagation());
  element.fields = fields;
  return element;
};

// The list of all keys, in the groups of the table.
export const keyList = (text, close) => {
  const groups = ['work', 'tools', 'edit', 'view'].map((group) => {
    const actions = [...new Set(KEYS.filter(([each]) => each === group).map(([, , action]) => action))];
    const lines = actions.flatMap((action) => {
      const keys = KEYS.filter(([, , each]) => each === action).map(([, key]) => make('kbd', {}, keyName(key)));
      return [make('dt', {}, ...keys), make('dd', {}, text(`key.${action}`))];
    });
    return make('section', {}, make('h4', {}, text(`keys.${group}`)), make('dl', {}, ...lines));
  });
  return [make('div', {class: 'lb-an-dialog-head'}, make('h3', {}, text('keys')), iconButton('close', text('close'), close)),
    make('div', {class: 'lb-an-keys'}, ...groups), make('p', {class: 'lb-an-muted'}, text('keys.mouse'))];
};
export const versionList = (text, versions, restore, close) => {
  const lines = versions.map((each) => make('li', {}, make('span', {class: 'lb-an-cut'}, fill(text('version'), {at: each.at, who: each.who || text('someone'), n: each.count})),
    make('button', {type: 'button', class: 'lb-an-button', onclick: () => restore(each.revision)}, text('restore'))));
  return [make('div', {class: 'lb-an-dialog-head'}, make('h3', {}, text('history')), iconButton('close', text('close'), close)),
    versions.length ? make('ul', {class: 'lb-an-versions'}, ...lines) : make('p', {class: 'lb-an-muted'}, text('noHistory'))];
};
