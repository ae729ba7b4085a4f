// The state of the canvas and everything that changes labels. Tools and buttons call this; it notes, saves and redraws.
import {cut, polygonOf, rasterFrom} from './areas.js';
import {clipped} from './clipping.js';
import {pointInRing, simplified} from './geometry.js';
import {isLooked, keysOf, renumbered} from './documents.js';
import {History} from './history.js';
import {combine, grown} from './runs.js';
import {acceptAreas, eraseOn, paintOn, repaint} from './painting.js';
import {accepted, copied, makeMask, makePolygon, moved, withClass, withRings} from './shapes.js';
import {boxOf} from './tools_brush.js';
import {View} from './view.js';

export const EMPTY = {looked: false, shapes: [], tags: null, mark: null, hints: null};

export class Studio {
  constructor({saved, changed, say}) {
    Object.assign(this, {classes: [], kind: 'objects', size: [1, 1], view: new View(), history: new History(), doc: EMPTY, base: EMPTY, cls: 0,
      selection: new Set(), ghosts: new Map(), target: null, hiddenClasses: new Set(), lockedClasses: new Set(), hiddenShapes: new Set(),
      lockedShapes: new Set(), bare: false, opacity: 0.35, radius: 12, names: true, cross: false, pointer: null, oneTag: false, readOnly: false, threshold: 0.25, brushPolygon: false, tolerance: 24, minus: false, mistake: null, strokeTold: false,
      tool: null, tools: {}, painter: null, saved, changed, say});
  }
  // ---- documents
  open(doc, {kind, size}) {
    Object.assign(this, {kind, size, doc, base: doc, target: null});
    for (const set of [this.selection, this.ghosts, this.hiddenShapes, this.lockedShapes]) set.clear();
    this.history.clear();
    if (kind === 'tags' && this.tool && this.tool.name !== 'select') { this.tool.cancel(); this.tool = this.tools.select; }
    this.refresh();
  }
  // Another list of classes: everything that can be seen or come back is in its ids from now on.
  useClasses(classes) {
    const before = keysOf(this.classes), now = (doc) => renumbered(doc, before, classes), {history} = this;
    Object.assign(this, {classes, doc: now(this.doc), base: now(this.base)});
    [history.past, history.future] = [history.past.map(now), history.future.map(now)];
  }
  // One edit: it can be undone, and goes to the server.
  commit(change) {
    if (this.readOnly) { this.say('readOnly'); return; }
    const doc = {...this.doc, mark: null, ...change};
    this.history.note(this.doc);
    this.apply({...doc, looked: change.looked ?? isLooked(doc)});
  }
  apply(doc) {
    this.doc = doc;
    const there = new Set(doc.shapes.map((shape) => shape.id));
    for (const set of [this.selection, this.hiddenShapes, this.lockedShapes]) for (const id of set) if (!there.has(id)) set.delete(id);
    if (this.target !== null && !there.has(this.target)) this.target = null;
    this.ghosts.clear();
    this.refresh();
    this.saved(doc);
  }
  undo() {
    if (this.tool?.undo?.()) { this.painter?.request(); return; }
    const before = this.history.undo(this.doc);
    if (before) this.apply(before);
  }
  redo() {
    const after = this.history.redo(this.doc);
    if (after) this.apply(after);
  }
  refresh() {
    this.painter?.refresh();
    this.changed();
  }
  // ---- what is seen and may be touched
  shown() {
    if (this.bare) return [];
    const {shapes} = this.doc;
    return shapes.filter((shape) => !this.ghosts.has(shape.id) && !this.hiddenClasses.has(shape.cls) && !this.hiddenShapes.has(shape.id) && !this.isFaint(shape));
  }
  isLocked(shape) { return this.readOnly || shape.cls < 0 || this.lockedClasses.has(shape.cls) || this.lockedShapes.has(shape.id); }
  selected() { return this.doc.shapes.filter((shape) => this.selection.has(shape.id)); }
  editable() { return this.selected().filter((shape) => !this.isLocked(shape)); }
  select(ids, how = 'set') {
    if (how === 'set') this.selection.clear();
    for (const id of ids) if (how === 'toggle' && this.selection.has(id)) this.selection.delete(id); else this.selection.add(id);
    this.painter?.request();
    this.changed();
  }
  toggle(set, value) {
    if (set.has(value)) set.delete(value); else set.add(value);
    this.refresh();
  }
  // ---- shapes in the hand: shown instead of their originals until the pointer is lifted
  ghost(shapes) {
    const fresh = shapes.some((shape) => !this.ghosts.has(shape.id)) || !shapes.length;
    if (!shapes.length) this.ghosts.clear(); else shapes.forEach((shape) => this.ghosts.set(shape.id, shape));
    if (fresh) this.painter?.refresh(); else this.painter?.request();
  }
  keepGhosts() {
    const shapes = [...this.ghosts.values()];
    this.ghosts.clear();
    if (shapes.length) this.replace(shapes); else this.painter?.refresh();
  }
  // ---- edits
  add(shape) {
    if (this.isPixels()) {
      const area = rasterFrom(shape, this.size);
      if (area) this.paintArea(area);
      return;
    }
    this.commit({shapes: [...this.doc.shapes, shape]});
  }
  isPixels() { return this.kind === 'mask' || this.kind === 'layers'; }
  replace(shapes) {
    const now = new Map(shapes.map((shape) => [shape.id, shape]));
    this.commit({shapes: this.doc.shapes.map((shape) => now.get(shape.id) ?? shape)});
  }
  remove() {
    if (this.tool?.remove?.()) return;
    const gone = new Set(this.editable().map((shape) => shape.id));
    if (gone.size) this.commit({shapes: this.doc.shapes.filter((shape) => !gone.has(shape.id))});
  }
  nudge([dx, dy]) { if (this.editable().length) this.replace(this.editable().map((shape) => moved(shape, dx, dy, this.size))); }
  duplicate() {
    const twins = this.isPixels() ? [] : this.editable().map((shape) => moved(copied(accepted(shape)), 8 / this.view.scale, 8 / this.view.scale, this.size));
    if (!twins.length) return;
    this.commit({shapes: [...this.doc.shapes, ...twins]});
    this.select(twins.map((shape) => shape.id));
  }
  setClass(cls) {
    if (!(cls >= 0 && cls < this.classes.length)) return;
    if (this.kind === 'tags') { this.tag(cls); return; }
    this.cls = cls;
    const chosen = this.editable().filter((shape) => shape.cls !== cls || shape.state === 'suggested');
    if (chosen.length && this.tool?.name === 'select') {
      if (this.isPixels()) chosen.forEach((shape) => repaint(this, shape, cls)); else this.replace(chosen.map((shape) => withClass(shape, cls)));
    } else { this.target = null; this.changed(); this.painter?.request(); }
  }
  // ---- suggestions
  isFaint(shape) { return shape.state === 'suggested' && (shape.score ?? 0) < this.threshold; }
  // What can be accepted now: all that are shown.
  waiting() { return this.shown().filter((shape) => shape.state === 'suggested' && !this.isLocked(shape)); }
  // The chosen ones, when something is chosen.
  meant() { return this.selection.size ? this.editable().filter((shape) => shape.state === 'suggested') : this.waiting(); }
  hints() { return (this.doc.hints ?? []).flatMap((score, cls) => (score !== null && score >= this.threshold ? [cls] : [])); }
  accept(chosen = this.meant()) {
    if (this.kind === 'tags') { this.acceptTags(); return; }
    const one = this.selection.size > 0 && chosen.length === this.selection.size;
    if (!chosen.length) return;
    if (this.isPixels()) acceptAreas(this, chosen); else this.replace(chosen.map(accepted));
    if (one) this.nextSuggestion();
  }
  acceptTags() {
    const found = this.hints(), best = [...found].sort((a, b) => this.doc.hints[b] - this.doc.hints[a])[0];
    if (!found.length) return;
    const tags = this.doc.tags.map((value, cls) => (this.oneTag ? Number(cls === best) : found.includes(cls) ? 1 : value));
    this.commit({tags, hints: null});
  }
  discard() {
    const left = this.doc.shapes.filter((shape) => shape.state !== 'suggested');
    if (this.kind === 'tags' && this.doc.hints) this.commit({hints: null});
    else if (left.length < this.doc.shapes.length) this.commit({shapes: left});
  }
  // Chooses the surest suggestion that comes after the chosen one.
  nextSuggestion() {
    const open = this.shown().filter((shape) => shape.state === 'suggested').sort((a, b) => (b.score ?? 0) - (a.score ?? 0));
    const at = open.findIndex((shape) => this.selection.has(shape.id));
    this.select(open.length ? [open[(at + 1) % open.length].id] : []);
    return open.length > 0;
  }
  mark(value) {
    if (this.readOnly) { this.say('readOnly'); return; }
    const open = this.doc.shapes.filter((shape) => shape.state === 'suggested');
    if (value === 'checked' && (open.some((shape) => !this.isFaint(shape)) || this.hints().length)) { this.say('acceptFirst'); return; }
    const seen = value === 'checked' ? {...this.doc, hints: null, shapes: open.length ? this.doc.shapes.filter((shape) => shape.state !== 'suggested') : this.doc.shapes} : this.doc;
    this.history.note(this.doc);
    this.apply({...seen, mark: this.doc.mark === value ? null : value, looked: this.doc.looked || value === 'checked'});
  }
  nothing() {
    if (this.kind !== 'tags' && this.doc.shapes.some((shape) => shape.state !== 'suggested')) { this.say('notEmpty'); return; }
    this.commit(this.kind === 'tags' ? {tags: this.doc.tags.map(() => 0), hints: null} : {shapes: [], looked: true});
  }
  // A tag is there or not, or as `value` says (0.5 unsure, null not mentioned); of single tags, choosing one takes the others away.
  tag(cls, value = this.doc.tags[cls] === 1 ? 0 : 1) {
    const tags = this.oneTag && value === 1 ? this.doc.tags.map(() => 0) : [...this.doc.tags];
    tags[cls] = value;
    const hints = this.oneTag && value === 1 ? null : this.doc.hints?.map((score, i) => (i === cls ? null : score)) ?? null;
    this.commit({tags, hints: hints?.some((score) => score !== null) ? hints : null});
  }
  paste(shapes) {
    if (!shapes.length) { this.say('nothingToCopy'); return; }
    const kept = this.fitting(shapes).map((shape) => copied(this.isPixels() ? shape : accepted(shape)));
    if (kept.length) this.commit({shapes: this.isPixels() ? kept : [...this.doc.shapes, ...kept]});
    this.tellLeftOut(shapes.length - kept.length);
  }
  // The labels of an earlier version; what is suggested now stays.
  restore({looked, shapes, tags}) {
    const kept = this.fitting(shapes), open = this.doc.shapes.filter(({state}) => state === 'suggested');
    this.commit({looked, shapes: [...kept, ...open], tags: tags ?? this.doc.tags?.map(() => null) ?? null});
    this.tellLeftOut(shapes.length - kept.length);
  }
  fitting(shapes) { return shapes.map((shape) => clipped(shape, this.size)).filter(Boolean); }
  tellLeftOut(n) { if (n && !this.readOnly) this.say('leftOut', {n}); }
  // ---- pixels
  // The mask that a stroke goes on with.
  paintTarget() {
    const {shapes} = this.doc;
    if (this.isPixels()) return shapes.find((shape) => shape.kind === 'mask' && shape.cls === this.cls && shape.state !== 'suggested');
    const kind = this.brushPolygon ? 'polygon' : 'mask';
    return shapes.find((shape) => shape.kind === kind && !this.isLocked(shape) && (this.selection.size ? this.selection.has(shape.id) : shape.id === this.target));
  }
  paintArea(area) { paintOn(this, area); }
  eraseArea(area) { eraseOn(this, area); }
  // ---- polygons
  addHole(ring) {
    const around = (shape) => shape.kind === 'polygon' && !this.isLocked(shape) && shape.rings.some((each) => pointInRing([ring[0], ring[1]], each));
    const shape = this.editable().find(around) ?? this.shown().findLast(around);
    if (!shape) { this.say('noPolygonHere'); return; }
    this.replace([withRings(shape, shape.rings, [...shape.holes, ring])]);
    this.useTool('select');
  }
  simplify() {
    const chosen = this.editable().filter((shape) => shape.kind === 'polygon'), tolerance = Math.max(0.5, 1 / this.view.scale);
    if (!chosen.length) { this.say('choosePolygon'); return; }
    this.replace(chosen.map((shape) => withRings(shape, shape.rings.map((ring) => simplified(ring, tolerance)), shape.holes.map((ring) => simplified(ring, tolerance)))));
  }
  // Several shapes become one, of the class of the first; a polygon when all were.
  join() {
    const chosen = this.editable();
    if (chosen.length < 2) { this.say('chooseTwo'); return; }
    const areas = chosen.map((shape) => rasterFrom(shape, this.size)).filter(Boolean);
    const whole = areas.reduce((sum, area) => { const raster = grown(sum, boxOf(area)); combine(raster, area, 1); return raster; }, null);
    const mask = whole && makeMask(chosen[0].cls, whole, this.size, chosen[0].id);
    if (!mask) return;
    const made = chosen.some((shape) => shape.kind === 'mask') ? mask : {...polygonOf(mask), id: mask.id};
    const gone = new Set(chosen.slice(1).map((shape) => shape.id));
    this.commit({shapes: this.doc.shapes.filter((shape) => !gone.has(shape.id)).map((shape) => (shape.id === made.id ? made : shape))});
  }
  // A polygon falls apart into its rings; one ring is cut between the two vertices that lie nearest to each other across it.
  split() {
    const shape = this.editable().find((each) => each.kind === 'polygon');
    if (!shape) { this.say('choosePolygon'); return; }
    const parts = shape.rings.length > 1 ? shape.rings.map((ring) => [ring]) : cut(shape.rings[0])?.map((ring) => [ring]);
    if (!parts) return;
    const made = parts.map((rings) => makePolygon(shape.cls, rings, shape.holes.filter((hole) => pointInRing([hole[0], hole[1]], rings[0]))));
    this.commit({shapes: this.doc.shapes.flatMap((each) => (each.id === shape.id ? made : [each]))});
    this.select(made.map((each) => each.id));
  }
  // Masks become polygons, polygons and boxes become masks.
  convert() {
    const chosen = this.isPixels() ? [] : this.editable();
    const next = chosen.map((shape) => {
      if (shape.kind === 'mask') return {...polygonOf(shape), id: shape.id};
      const area = rasterFrom(shape, this.size), mask = area && makeMask(shape.cls, area, this.size, shape.id);
      return mask ?? shape;
    });
    if (next.length) this.replace(next);
  }
  // ---- tools
  // Keeps an outline that is in the hand before a person goes on; false when it has too few points and is dropped.
  finish() {
    const {tool} = this, kept = !tool?.outlines || !tool.busy() || tool.enter();
    tool?.cancel();
    return kept;
  }
  useTool(name) {
    if (this.readOnly && name !== 'select') { this.say('readOnly'); return; }
    if (this.kind === 'tags' && name !== 'select') { this.say('tagsOnly'); return; }
    if (!this.classes.length && name !== 'select') { this.say('noClass'); return; }
    this.tool?.cancel();
    this.tool = this.tools[name];
    if (name !== 'select' && name !== 'eraser' && name !== 'brush') this.selection.clear();
    this.target = null;
    this.refresh();
  }
}
