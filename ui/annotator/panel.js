// The right-hand side: classes with their keys, tags, what can be done with the chosen shapes, and the list of all shapes.
import {fill, iconButton, iconOf, make, swatchOf} from './dom.js';

const MOST_LINES = 200;
const MOST_CLASSES = 300;

export class Panel {
  // assist: the element with what models do, shown instead of the list of objects.
  constructor(studio, text, act, assist) {
    Object.assign(this, {studio, text, act, wanted: ''});
    this.search = make('input', {type: 'search', class: 'lb-an-search', placeholder: text('searchClass'), 'aria-label': text('searchClass'), autocomplete: 'off',
      oninput: () => { this.wanted = this.search.value.trim(); this.classes(); }, onkeydown: (event) => this.typed(event)});
    this.list = make('ul', {class: 'lb-an-list', 'aria-label': text('classes')});
    this.tools = make('div', {class: 'lb-an-actions'});
    this.count = make('span', {class: 'lb-an-muted'});
    this.lines = make('ul', {class: 'lb-an-list lb-an-shapes', 'aria-label': text('shapes')});
    this.tabs = ['objects', 'assist'].map((name) => make('button', {type: 'button', role: 'tab', class: 'lb-an-tab', 'data-side': name, onclick: () => this.show(name)},
      text(name === 'objects' ? 'shapes' : 'assist'), name === 'objects' ? this.count : null));
    this.derive = make('button', {type: 'button', class: 'lb-an-button', 'aria-haspopup': 'dialog', 'data-do': 'derive', hidden: studio.readOnly, onclick: () => act('derive')}, text('derive.open'));
    this.objects = make('div', {class: 'lb-an-objects'}, this.tools, this.lines, this.derive);
    this.assist = assist;
    this.shapeBox = make('section', {}, make('div', {class: 'lb-an-tabs', role: 'tablist'}, ...this.tabs), this.objects, assist);
    this.title = make('h3', {}, text('classes'));
    this.paste = iconButton('paste', text('classList'), () => act('pasteClasses'), {'aria-haspopup': 'dialog', hidden: studio.readOnly});
    this.side = 'objects';
    this.quick = make('select', {class: 'lb-an-select lb-an-quick', 'aria-label': text('classes'), onchange: () => { studio.setClass(Number(this.quick.value)); act('focus'); }});
    this.single = make('label', {class: 'lb-an-check'}, make('input', {type: 'checkbox', onchange: (event) => { studio.oneTag = event.target.checked; }}), text('oneTag'));
    this.element = make('aside', {class: 'lb-an-side'}, make('section', {class: 'lb-an-classes'}, make('div', {class: 'lb-an-dialog-head'}, this.title, this.paste), this.search, this.single, this.list), this.shapeBox);
  }
  // "objects" or "assist".
  show(name) {
    this.side = name;
    this.update();
  }
  typed(event) {
    if (event.key === 'Enter') {
      const [first] = this.fitting();
      event.preventDefault();
      if (first !== undefined) this.choose(first); else if (this.wanted) this.act('addClass', this.wanted);
    } else if (event.key === 'Escape') this.act('focus');
    else return;
    event.stopPropagation();
  }
  choose(cls) {
    this.search.value = this.wanted = '';
    this.studio.setClass(cls);
    this.act('focus');
  }
  fitting() {
    const {classes} = this.studio, wanted = this.wanted.toLocaleLowerCase(), found = [];
    classes.forEach(({name}, cls) => { if (!wanted || name.toLocaleLowerCase().includes(wanted)) found.push(cls); });
    return wanted ? found.sort((a, b) => rank(classes[a].name, wanted) - rank(classes[b].name, wanted)) : found;
  }
  update() {
    const tags = this.studio.kind === 'tags';
    this.title.textContent = this.text(tags ? 'tags' : 'classes');
    this.single.hidden = !tags;
    this.single.firstChild.checked = this.studio.oneTag;
    const side = tags ? 'assist' : this.side;
    this.tabs.forEach((tab) => { tab.setAttribute('aria-selected', String(tab.dataset.side === side)); tab.hidden = tags && tab.dataset.side === 'objects'; });
    this.objects.hidden = side !== 'objects';
    this.assist.hidden = side !== 'assist';
    this.classes();
    if (!tags) { this.actions(); this.shapes(); }
  }
  classes() {
    const {studio} = this, fitting = this.fitting(), counts = objectCounts(studio).classes;
    const lines = fitting.slice(0, MOST_CLASSES).map((cls) => this.classLine(cls, counts.get(cls)));
    if (this.wanted && !studio.readOnly && !studio.classes.some(({name}) => name === this.wanted)) {
      lines.push(make('li', {}, make('button', {type: 'button', class: 'lb-an-row', onclick: () => this.act('addClass', this.wanted)}, iconOf('plus', 16),
        make('span', {class: 'lb-an-cut'}, fill(this.text('addClass'), {name: this.wanted})))));
    } else if (!lines.length) lines.push(make('li', {class: 'lb-an-muted'}, this.text('noClasses')), make('li', {}, studio.readOnly ? null : make('button', {type: 'button', class: 'lb-an-button', onclick: () => this.act('pasteClasses')}, this.text('classList'))));
    this.list.replaceChildren(...lines);
    const names = studio.classes.map(({name}) => name).join('\n');
    if (names !== this.quickNames) this.quick.replaceChildren(...studio.classes.map(({name}, cls) => make('option', {value: cls}, name)));
    this.quickNames = names;
    this.quick.value = studio.cls;
    this.quick.hidden = studio.kind === 'tags' || !names;
  }
  pressed(cls, event) {
    if (this.studio.kind === 'tags' && (event.altKey || event.shiftKey)) this.studio.tag(cls, event.altKey ? null : 0.5); else this.studio.setClass(cls);
  }
  classLine(cls, count) {
    const {studio} = this, look = studio.classes[cls], tags = studio.kind === 'tags', value = studio.doc.tags?.[cls] ?? null;
    const word = tags ? {1: 'tagThere', 0: 'tagNot', 0.5: 'tagUnsure'}[value] : null;
    const hint = tags ? studio.doc.hints?.[cls] ?? null : null, shown = hint !== null && hint >= studio.threshold;
    const state = shown ? make('span', {class: 'lb-an-tag lb-an-tag-hint'}, `${Math.round(hint * 100)}%`) : tags ? make('span', {class: `lb-an-tag lb-an-tag-${value === null ? 'none' : value === 0.5 ? 'unsure' : value}`}, word ? this.text(word) : '') : null;
    const row = make('button', {type: 'button', class: 'lb-an-row', 'aria-pressed': tags ? String(value === 1) : String(cls === studio.cls), title: tags ? `${look.name}\n${this.text('tagHelp')}` : look.name,
      'data-class': cls, onclick: (event) => { this.pressed(cls, event); this.act('focus'); }},
    swatchOf(look), make('kbd', {}, cls < 9 ? String(cls + 1) : cls === 9 ? '0' : ''), make('span', {class: 'lb-an-cut'}, look.name), state,
    !tags && count ? make('span', {class: 'lb-an-muted', title: this.text('countTip')}, figure(count)) : null);
    if (tags) return make('li', {}, row);
    const hidden = studio.hiddenClasses.has(cls), locked = studio.lockedClasses.has(cls);
    return make('li', {class: hidden ? 'lb-an-off' : null}, row,
      iconButton(locked ? 'lock' : 'unlocked', this.text(locked ? 'unlockClass' : 'lockClass'), () => studio.toggle(studio.lockedClasses, cls), {'aria-pressed': String(locked)}),
      iconButton(hidden ? 'hidden' : 'eye', this.text(hidden ? 'showClass' : 'hideClass'), () => studio.toggle(studio.hiddenClasses, cls), {'aria-pressed': String(hidden)}));
  }
  actions() {
    const {studio, text} = this, chosen = studio.editable(), polygon = chosen.some((shape) => shape.kind === 'polygon');
    const objects = studio.kind === 'objects', button = (name, able = true) => make('button', {type: 'button', class: 'lb-an-button', disabled: !able,
      onclick: () => { this.act(name); this.act('focus'); }}, text(`do.${name}`));
    const suggested = studio.meant().length > 0;
    const made = chosen.length ? [suggested && button('accept'), objects && button('duplicate'), objects && polygon && button('hole'),
      objects && button('join', chosen.length > 1), objects && polygon && button('split'), objects && polygon && button('simplify'), objects && button('convert'), button('remove')]
      : [suggested && button('accept')];
    this.tools.replaceChildren(...made.filter(Boolean));
  }
  shapes() {
    const {studio} = this, shapes = studio.doc.shapes.filter((shape) => !studio.isFaint(shape));
    this.count.textContent = figure(objectCounts(studio).all);
    this.count.title = this.text('countTip');
    const lines = shapes.slice(0, MOST_LINES).map((shape) => this.shapeLine(shape));
    if (shapes.length > MOST_LINES) lines.push(make('li', {class: 'lb-an-muted'}, fill(this.text('moreShapes'), {n: (shapes.length - MOST_LINES).toLocaleString('en')})));
    if (!shapes.length) lines.push(make('li', {class: 'lb-an-muted'}, this.text(studio.doc.looked ? 'nothingHere' : 'notLooked')));
    this.lines.replaceChildren(...lines);
  }
  shapeLine(shape) {
    const {studio} = this, look = studio.classes[shape.cls], hidden = studio.hiddenShapes.has(shape.id), locked = studio.lockedShapes.has(shape.id);
    const size = `${Math.round(shape.box[2] - shape.box[0])} × ${Math.round(shape.box[3] - shape.box[1])}`;
    const note = shape.state === 'suggested' ? ` · ${Math.round((shape.score ?? 0) * 100)}%` : shape.derived ? '' : ` · ${size}`;
    const row = make('button', {type: 'button', class: 'lb-an-row', 'aria-pressed': String(studio.selection.has(shape.id)), onclick: (event) => this.pickShape(shape, event),
      ondblclick: () => { studio.view.show(shape.box); studio.painter.refresh(); }},
    swatchOf(look), make('span', {class: 'lb-an-cut'}, look?.name ?? this.text('void')),
    shape.derived ? make('span', {class: 'lb-an-badge', title: this.text('derivedTip')}, this.text('derived')) : null, make('span', {class: 'lb-an-muted'}, `${this.text(`kind.${shape.kind}`)}${note}`));
    return make('li', {class: hidden ? 'lb-an-off' : null}, row,
      iconButton(locked ? 'lock' : 'unlocked', this.text(locked ? 'unlock' : 'lock'), () => studio.toggle(studio.lockedShapes, shape.id), {'aria-pressed': String(locked)}),
      iconButton(hidden ? 'hidden' : 'eye', this.text(hidden ? 'showIt' : 'hideIt'), () => studio.toggle(studio.hiddenShapes, shape.id), {'aria-pressed': String(hidden)}));
  }
  pickShape(shape, event) {
    if (this.studio.tool.name !== 'select') this.act('select');
    this.studio.select([shape.id], event.shiftKey || event.ctrlKey || event.metaKey ? 'toggle' : 'set');
    this.act('focus');
  }
}

// How many objects there are and how many suggestions are shown, in all and of each class that has any.
export const objectCounts = (studio) => {
  const all = {truth: 0, open: 0}, classes = new Map();
  for (const shape of studio.doc.shapes) {
    if (studio.isFaint(shape)) continue;
    const own = classes.get(shape.cls) ?? {truth: 0, open: 0}, what = shape.state === 'suggested' ? 'open' : 'truth';
    own[what] += 1;
    all[what] += 1;
    classes.set(shape.cls, own);
  }
  return {all, classes};
};
// "3", or "3 + 2" with two suggestions.
export const figure = (count) => (count ? `${count.truth.toLocaleString('en')}${count.open ? ` + ${count.open.toLocaleString('en')}` : ''}` : '');
const rank = (name, wanted) => (name.toLocaleLowerCase().startsWith(wanted) ? 0 : 1);
