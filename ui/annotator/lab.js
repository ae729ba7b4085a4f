// One data set on the canvas: opens its images, saves them, and does what keys and buttons ask for.
import {changeDisplay, changeRadius, closeDisplay, toggleField} from './adjust.js';
import {Assist} from './assist.js';
import {showAside, showPlace} from './beside.js';
import {deriveLabels, pasteClasses, showHelp, showVersions} from './dialogs.js';
import {docFromWire, docToWire, keysOf, merged, renumbered, sameWire, stateOf} from './documents.js';
import {fill, make} from './dom.js';
import {Painter} from './draw.js';
import {listen} from './input.js';
import {layout} from './layout.js';
import {Panel} from './panel.js';
import {Picture} from './picture.js';
import {Pointers} from './pointers.js';
import {showRefused, tellSaving} from './saving.js';
import {Strip} from './strip.js';
import {Studio} from './studio.js';
import {Outbox} from './sync.js';
import {boxTool, selectTool} from './tools_box.js';
import {brushTool} from './tools_brush.js';
import {fillTool} from './tools_fill.js';
import {finder, pointsTool} from './tools_points.js';
import {polygonTool} from './tools_polygon.js';

const KEPT_PICTURES = 4;

export class Lab {
  // server: the functions of the component; begun: what `label_begin` answered for `dataset`.
  constructor(root, server, dataset, begun) {
    Object.assign(this, {root, server, dataset, begun, image: null, facts: null, asked: 0, pictures: new Map(), drawing: 0});
    this.text = (key, values = {}) => fill(begun.texts[key] ?? key, values);
    this.act = this.act.bind(this);
    const studio = this.studio = new Studio({saved: (doc) => this.save(doc), changed: () => this.later(), say: (key, values) => this.hint(this.text(`hint.${key}`, values))});
    Object.assign(studio, {classes: begun.classes, oneTag: begun.oneTag, readOnly: begun.readOnly});
    this.assist = new Assist(this);
    this.panel = new Panel(studio, this.text, this.act, this.assist.element);
    this.strip = new Strip(this.text, begun, {queue: (wanted) => this.call('queue', wanted), thumbs: (ids) => this.call('thumbs', {ids})}, (id) => this.open(id));
    this.pointers = new Pointers(this);
    this.part = layout(root, this.text, this.act, this);
    studio.painter = new Painter(this.part.base, this.part.top, studio);
    studio.tools = {select: selectTool(studio), box: boxTool(studio), polygon: polygonTool(studio), hole: polygonTool(studio, 'hole'), brush: brushTool(studio),
      eraser: brushTool(studio, true), fill: fillTool(studio), points: pointsTool(studio, finder(this))};
    studio.tool = studio.tools.select;
    this.outbox = new Outbox({dataset: begun.set ?? dataset, keep: globalThis.localStorage, same: (mine, theirs) => { const doc = renumbered(docFromWire(mine), mine.classes, theirs.classes); return doc.shapes.length === mine.shapes.length && sameWire(docToWire(doc), theirs.document); }, tell: (state, details) => tellSaving(this, state, details),
      send: ({image, doc, expected, token}) => this.call('save', {image, document: doc, expected, token})});
    this.connect();
  }
  async call(name, values) {
    const answer = await this.server[`label_${name}`]({dataset: this.dataset, language: globalThis.lightbox?.language, ...values});
    if (!answer || typeof answer !== 'object') throw new Error(name);  // Gradio only warns when the server cannot be reached
    return answer;
  }
  connect() {
    const keys = listen(this.part.stage, this.studio, this.act), plain = ({key}) => key !== ' ' && key !== 'Enter' && !key.startsWith('Arrow');
    const mine = (event) => this.visible() && (this.root.contains(event.target) || event.target === document.body
      || (event.target.tagName === 'BUTTON' && plain(event)));  // the tab that was just pressed
    this.gone = new AbortController();
    const options = {signal: this.gone.signal};
    document.addEventListener('keydown', (event) => { if (mine(event) && !this.part.dialog.open) keys.keydown(event); }, options);
    document.addEventListener('keyup', (event) => { if (mine(event)) keys.keyup(event); }, options);
    window.addEventListener('online', () => this.outbox.again(), options);
    document.addEventListener('pointerdown', ({target}) => closeDisplay(this, target), {...options, capture: true});
    document.addEventListener('visibilitychange', () => { if (!document.hidden && this.visible()) this.back(); }, options);
    // What this browser keeps is sent on the next visit; only what it could not keep would be lost.
    window.addEventListener('beforeunload', (event) => { if (this.outbox.unkept && (this.outbox.busy || this.outbox.conflicts.size || this.outbox.refused.size)) event.preventDefault(); }, options);
    this.sizes = new ResizeObserver(([{contentRect: {width, height}}]) => {
      if (width < 2 || height < 2) { this.away = true; return; }
      if (this.away) this.back();
      this.studio.view.resize(width, height);
      this.studio.painter.resize();
      this.viewed();
    });
    this.sizes.observe(this.part.stage);
  }
  // The page was away, and others may have worked on the set meanwhile.
  back() {
    this.away = false;
    this.assist.refresh().then(() => this.assist.watch());  // a training may have ended elsewhere
    const {image} = this;
    if (image === null || this.outbox.pending(image)) return;
    this.asking('open', {image}, ({revision}) => (revision === this.outbox.revisions.get(image) ? this.strip.refill(image).then(() => this.strip.render()) : this.open(image)));
  }
  visible() { return this.root.offsetParent !== null; }
  close() {
    this.gone.abort();
    this.sizes.disconnect();
    this.outbox.close();
    this.assist.close();
    this.pointers.close();
  }
  // ---- images
  async begin(first) {
    for (const id of this.outbox.leftovers()) {  // what an earlier visit could not send
      const left = id === first ? null : this.outbox.left(id);
      if (left) { this.outbox.revisions.set(id, left.revision); this.outbox.put(id, left.doc); this.outbox.taken(left); }
    }
    this.assist.begin();
    await this.strip.refill(first ?? 0);
    const id = this.strip.images.find(([each]) => each >= (first ?? 0))?.[0] ?? this.strip.images[0]?.[0];
    if (id !== undefined) await this.open(id); else this.empty();
    const [refused] = this.outbox.refused.keys();
    if (refused !== undefined) showRefused(this, refused);
  }
  async open(id) {
    if (id === null || id === undefined) return;
    this.asked += 1;
    const turn = this.asked;
    const kept = id === this.image ? this.studio.tool.cancel() : this.studio.finish();
    this.hint(kept === false ? this.text('hint.dropped') : '');
    try {
      const [facts, source] = await Promise.all([this.call('open', {image: id}), this.picture(id)]);
      if (turn !== this.asked) return;
      if (facts.error) { this.fail(facts.error); return; }
      this.show(facts, source);
      await this.strip.show(id);
      const next = await this.strip.neighbour(1);
      if (next !== null && turn === this.asked) this.picture(next);
    } catch { if (turn === this.asked) this.fail({message: this.text('offline'), remedy: ''}); }
  }
  show(facts, source) {
    const {studio, outbox} = this, found = outbox.conflicts.get(facts.id), waiting = outbox.waiting.get(facts.id) ?? (outbox.flying?.image === facts.id ? outbox.flying : null);
    this.image = facts.id;
    this.facts = facts;
    studio.painter.picture = source.levels ? new Picture(source.levels, facts.size) : null;
    studio.painter.picture?.setTones(this.tones ?? studio.painter.picture.tones);
    studio.view.setImage(facts.size);
    outbox.opened(facts.id, facts.revision);
    studio.classes = facts.classes;
    studio.mistake = null;
    studio.open(docFromWire(facts.document), facts);
    this.part.notice.hidden = true;
    const elsewhere = [...outbox.conflicts.keys()].find((id) => id !== facts.id);
    if (elsewhere !== undefined) this.notice(this.text('conflictElsewhere'), [[this.text('openIt'), () => this.open(elsewhere)]]);
    if (source.error) this.notice(`${source.error.message} ${source.error.remedy}`, []);
    const held = waiting ?? outbox.refused.get(facts.id), left = held || found ? null : outbox.left(facts.id);
    if (held) studio.doc = renumbered(docFromWire(held.doc), held.doc.classes, facts.classes);
    else if (left && !sameWire(left.doc, facts.document)) {
      if (left.revision === facts.revision || outbox.tokens.has(facts.token)) studio.apply(renumbered(docFromWire(left.doc), left.doc.classes, facts.classes));
      else outbox.clash({image: facts.id, doc: left.doc, expected: left.revision}, facts);
    } else if (left) outbox.forget(facts.id);
    if (left) outbox.taken(left);
    if (found) this.ask({mine: outbox.waiting.get(facts.id)?.doc ?? found.mine, theirs: found.theirs});
    studio.refresh();
    this.viewed();
    if (!held && !found && !left) Object.assign(this.part.saved, {textContent: facts.at ? this.text(facts.who ? 'savedBy' : 'savedAt', {at: facts.at, who: facts.who}) : ''}).dataset.state = '';
    if (!waiting) showRefused(this);
    if (facts.unseen) this.hint(this.text('assist.unseen'));
    this.part.name.textContent = facts.name;
    this.part.name.title = facts.name;
    const named = new URLSearchParams(globalThis.location.search).get('dataset');
    if (!named || named === this.dataset) globalThis.lightbox?.remember?.('image', `${facts.id}@${this.dataset}`);
  }
  picture(id) {
    if (!this.pictures.has(id)) {
      this.pictures.set(id, this.load(id).catch((error) => { this.pictures.delete(id); throw error; }));
      for (const old of this.pictures.keys()) if (this.pictures.size > KEPT_PICTURES && old !== this.image && old !== id) this.pictures.delete(old);
    }
    return this.pictures.get(id);
  }
  async load(id) {
    const answer = await this.call('picture', {image: id});
    if (answer.error) return {error: answer.error};
    const image = new Image();
    image.src = answer.url;
    await image.decode();
    const made = new Picture([await createImageBitmap(image)], [1, 1]);
    made.made(2);  // smaller copies now, not while a person zooms
    return {levels: made.levels};
  }
  empty() {
    this.part.stage.replaceChildren(make('p', {class: 'lb-an-muted lb-an-none'}, this.text('noImages')));
  }
  // ---- saving
  wire(doc) { return docToWire(doc, keysOf(this.studio.classes)); }
  save(doc) {
    this.hint('');  // what it said was before this edit
    this.outbox.put(this.image, this.wire(doc));
    this.strip.mark(this.image, stateOf(doc));
  }
  // Somebody else has saved another version: both are kept until a person has chosen.
  ask({mine, theirs}) {
    const {studio, image} = this, other = docFromWire(theirs.document);
    if (!sameWire(this.wire(studio.doc), mine)) studio.doc = renumbered(docFromWire(mine), mine.classes, studio.classes);
    const before = studio.doc.shapes.length;
    this.useClasses(theirs.classes);
    if (studio.doc.shapes.length < before) this.hint(this.text('classesGone', {n: before - studio.doc.shapes.length}));
    const settle = (doc) => {
      if (image !== this.image) return;
      this.part.notice.hidden = true;
      studio.history.note(studio.doc);
      studio.doc = doc ?? other;
      studio.refresh();
      this.outbox.settle(image, doc && this.wire(doc));
    };
    this.notice(this.text(theirs.who ? 'conflictBy' : 'conflict', {who: theirs.who, at: theirs.at || this.text('justNow')}), [
      [this.text('keepBoth'), () => settle(merged(studio.base, studio.doc, other, studio))],
      [this.text('keepMine'), () => settle(studio.doc)], [this.text('keepTheirs'), () => settle(null)]]);
  }
  notice(words, choices, low = false) {
    this.part.notice.replaceChildren(make('span', {}, words), ...choices.map(([name, onclick]) => make('button', {type: 'button', class: 'lb-an-button', onclick}, name)));
    this.part.notice.hidden = false;
    this.part.notice.classList.toggle('lb-an-low', low);
  }
  fail({message, remedy}) { this.notice(`${message} ${remedy}`.trim(), [[this.text('tryAgain'), () => { this.part.notice.hidden = true; this.open(this.image ?? this.strip.current); }]]); }
  // A message over the canvas goes; that the open image is not saved stays.
  quiet() {
    this.part.notice.hidden = true;
    showRefused(this);
  }
  hint(words) { this.hintText = this.part.hint.textContent = words; }
  // ---- what keys and buttons do; false: nothing, so the browser may
  act(action, value) {
    const {studio, part} = this, {view} = studio, middle = [view.width / 2, view.height / 2];
    if (studio.tools[action] && action !== 'hole') { this.take(action); return true; }
    const todo = {
      next: () => this.step(1), previous: () => this.step(-1), nextOpen: () => this.nextOpen(), accept: () => (studio.tool.enter?.() ? true : studio.accept()), nextHint: () => studio.nextSuggestion(), look: () => this.assist.look(), nextSuspect: () => this.assist.nextSuspect(), nothing: () => studio.nothing(),
      checked: () => studio.mark('checked'), skip: () => studio.mark('skipped'), copyPrevious: () => this.copyPrevious(),
      smaller: () => changeRadius(this, 1 / 1.25), larger: () => changeRadius(this, 1.25), finish: () => (studio.tool.enter ? studio.tool.enter() : studio.accept()), class: () => studio.setClass(value),
      pickClass: () => this.panel.search.focus(), remove: () => (studio.tool.busy?.() ? studio.tool.undo?.() : studio.remove()), undo: () => studio.undo(), redo: () => studio.redo(),
      selectAll: () => { studio.useTool('select'); studio.select(studio.shown().filter((shape) => !studio.isLocked(shape)).map((shape) => shape.id)); },
      duplicate: () => studio.duplicate(), hole: () => studio.useTool('hole'), join: () => studio.join(), split: () => studio.split(), simplify: () => studio.simplify(),
      convert: () => studio.convert(), nudge: () => { if (!studio.editable().length) return false; studio.nudge(value); return true; },
      zoomIn: () => view.zoom(1.25, middle), zoomOut: () => view.zoom(0.8, middle), fit: () => view.fit(), hide: () => { studio.bare = !studio.bare; studio.refresh(); },
      lock: () => studio.selected().forEach((shape) => studio.toggle(studio.lockedShapes, shape.id)), crosshair: () => toggleField(this, 'cross'),
      names: () => toggleField(this, 'names'), help: () => showHelp(this), history: () => showVersions(this), pasteClasses: () => pasteClasses(this), derive: () => deriveLabels(this), addClass: () => this.addClass(value),
      display: () => changeDisplay(this, value), focus: () => part.stage.focus({preventScroll: true}), viewed: () => this.viewed(),
      cancel: () => { if (!part.display.hidden) part.display.hidden = true; else if (studio.tool.busy?.()) studio.tool.cancel(); else if (studio.selection.size || studio.target !== null) { studio.target = null; studio.select([]); } else studio.useTool('select'); },
    };
    const done = todo[action]?.();
    if (['zoomIn', 'zoomOut', 'fit', 'finish', 'cancel', 'remove'].includes(action)) { studio.painter.request(); this.viewed(); }
    return done;
  }
  // A tool comes into the hand; what was said about another one goes, not what is wrong with a label.
  take(name) {
    if (this.hintText !== this.studio.mistake?.words) this.hint('');
    this.studio.useTool(name);
  }
  async step(by) {
    try {
      const id = await this.strip.neighbour(by);
      if (id === null) this.hint(this.text(by > 0 ? 'hint.last' : 'hint.first')); else await this.open(id);
    } catch { this.fail({message: this.text('offline'), remedy: ''}); }
  }
  // What waits for the server says so when it cannot be reached, and does nothing once another image is open.
  async asking(name, values, done) {
    const {image} = this;
    try {
      const answer = await this.call(name, values);
      if (answer.error) this.hint(answer.error.message); else if (image === this.image) await done(answer);
    } catch { this.hint(this.text('offline')); }
  }
  nextOpen() {
    return this.asking('queue', {...this.strip.wanted, around: this.image, state: 'unlabeled', before: 0, after: 2}, ({images}) => {
      const next = images.find(([id]) => id !== this.image);
      return next ? this.open(next[0]) : this.hint(this.text('hint.noneLeft'));
    });
  }
  async copyPrevious() {
    const {image} = this, before = await this.strip.neighbour(-1).catch(() => null);
    if (before === null) this.hint(this.text('hint.first'));
    else if (image === this.image) await this.asking('open', {image: before}, (facts) => this.studio.paste(docFromWire(facts.document).shapes.filter(({state}) => state !== 'suggested')));
  }
  addClass(name) {
    return this.asking('class', {name}, ({classes, cls}) => {
      this.useClasses(classes);
      this.panel.choose(cls);
    });
  }
  useClasses(classes) {
    const {studio} = this;
    studio.useClasses(classes);
    this.strip.useClasses(classes);
    if (this.hintText === this.text('hint.noClass')) this.hint('');
    studio.refresh();
  }
  // ---- what is shown beside the canvas
  later() {
    if (this.drawing) return;
    this.drawing = requestAnimationFrame(() => { this.drawing = 0; this.aside(); });
  }
  aside() { showAside(this); }
  viewed() { showPlace(this); }
}
