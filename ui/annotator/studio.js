// The state of the canvas and everything that changes labels. Tools and buttons call this; it notes, saves and redraws.
import {boxInBox, distance, pointInRing, ringOfBox, simplified, splitAt} from './geometry.js';
import {colourOf} from './draw.js';
import {History} from './history.js';
import {combine, emptyRaster, fillRings, grown, outlines} from './runs.js';
import {accepted, copied, makeMask, makePolygon, moved, rasterOf, withClass, withRings} from './shapes.js';
import {boxOf, erased, painted} from './tools_brush.js';
import {View} from './view.js';

export const EMPTY = {looked: false, shapes: [], tags: null, mark: null};

export class Studio {
  constructor({saved, changed, say}) {
    Object.assign(this, {classes: [], kind: 'objects', size: [1, 1], view: new View(), history: new History(), doc: EMPTY, base: EMPTY, cls: 0,
      selection: new Set(), ghosts: new Map(), target: null, hiddenClasses: new Set(), lockedClasses: new Set(), hiddenShapes: new Set(),
      lockedShapes: new Set(), bare: false, opacity: 0.35, radius: 12, names: true, cross: false, pointer: null, oneTag: false, readOnly: false,
      tool: null, tools: {}, painter: null, saved, changed, say});
  }
  // ---- documents
  open(doc, {kind, size}) {
    Object.assign(this, {kind, size, doc, base: doc, target: null});
    for (const set of [this.selection, this.ghosts, this.hiddenShapes, this.lockedShapes]) set.clear();
    this.history.clear();
    this.refresh();
  }
  // One edit: it can be undone, and goes to the server.
  commit(change) {
    if (this.readOnly) { this.say('readOnly'); return; }
    const doc = {...this.doc, looked: true, mark: null, ...change};
    this.history.note(this.doc);
    this.apply(doc);
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
    if (!this.ghosts.size && !this.hiddenClasses.size && !this.hiddenShapes.size) return shapes;
    return shapes.filter((shape) => !this.ghosts.has(shape.id) && !this.hiddenClasses.has(shape.cls) && !this.hiddenShapes.has(shape.id));
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
      if (this.isPixels()) chosen.forEach((shape) => this.repaint(shape, cls)); else this.replace(chosen.map((shape) => withClass(shape, cls)));
    } else { this.target = null; this.changed(); this.painter?.request(); }
  }
  repaint(shape, cls) {
    const rest = this.doc.shapes.filter((each) => each.id !== shape.id), twin = rest.find((each) => each.cls === cls && each.kind === 'mask');
    this.commit({shapes: painted(rest, rasterOf(shape), {cls, target: twin, size: this.size, exclusive: this.kind === 'mask', locked: () => false})});
  }
  accept() {
    const chosen = (this.selection.size ? this.editable() : this.shown().filter((shape) => !this.isLocked(shape))).filter((shape) => shape.state === 'suggested');
    if (chosen.length) this.replace(chosen.map(accepted));
  }
  mark(value) {
    if (this.readOnly) { this.say('readOnly'); return; }
    if (value === 'checked' && this.doc.shapes.some((shape) => shape.state === 'suggested')) { this.say('acceptFirst'); return; }
    this.history.note(this.doc);
    this.apply({...this.doc, mark: this.doc.mark === value ? null : value, looked: this.doc.looked || value === 'checked'});
  }
  nothing() {
    if (this.doc.shapes.length && this.kind !== 'tags') { this.say('notEmpty'); return; }
    this.commit(this.kind === 'tags' ? {tags: this.doc.tags.map(() => 0)} : {});
  }
  // A tag is there or not, or as `value` says (0.5 unsure, null not mentioned); of single tags, choosing one takes the others away.
  tag(cls, value = this.doc.tags[cls] === 1 ? 0 : 1) {
    const tags = this.oneTag && value === 1 ? this.doc.tags.map(() => 0) : [...this.doc.tags];
    tags[cls] = value;
    this.commit({tags});
  }
  paste(shapes) {
    if (!shapes.length) { this.say('nothingToCopy'); return; }
    if (this.isPixels()) this.commit({shapes: shapes.filter((shape) => shape.size?.[0] === this.size[1] && shape.size[1] === this.size[0]).map(copied)});
    else this.commit({shapes: [...this.doc.shapes, ...shapes.map((shape) => moved(copied(accepted(shape)), 0, 0, this.size))]});
  }
  // ---- pixels
  paintArea(area) {
    const {shapes} = this.doc, locked = (shape) => this.isLocked(shape);
    const target = this.isPixels() ? shapes.find((shape) => shape.kind === 'mask' && shape.cls === this.cls)
      : shapes.find((shape) => shape.kind === 'mask' && !locked(shape) && (this.selection.size ? this.selection.has(shape.id) : shape.id === this.target));
    if (target && locked(target)) { this.say('locked'); return; }
    const next = painted(shapes, area, {cls: target?.cls ?? this.cls, target, size: this.size, exclusive: this.kind === 'mask', locked});
    if (next === shapes) return;
    if (!target) this.target = next.at(-1).id;  // the next stroke goes on with this one
    this.commit({shapes: next});
  }
  eraseArea(area) {
    const wanted = (shape) => !this.isLocked(shape) && !this.hiddenClasses.has(shape.cls) && (!this.selection.size || this.selection.has(shape.id));
    const next = erased(this.doc.shapes, area, wanted, this.size);
    if (next.length !== this.doc.shapes.length || next.some((shape, i) => shape !== this.doc.shapes[i])) this.commit({shapes: next});
  }
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
  useTool(name) {
    if (this.readOnly && name !== 'select') { this.say('readOnly'); return; }
    this.tool?.cancel();
    this.tool = this.tools[name];
    if (name !== 'select' && name !== 'eraser' && name !== 'brush') this.selection.clear();
    this.target = null;
    this.refresh();
  }
  drawOver(g, view) {
    for (const shape of this.ghosts.values()) this.drawOne(g, view, shape);
    for (const shape of this.selected()) if (!this.ghosts.has(shape.id)) this.drawOne(g, view, shape);
    this.tool?.draw?.(g, view);
    if (this.cross && this.pointer && this.tool?.draws) {
      g.fillStyle = 'rgb(255 255 255 / 75%)';
      g.fillRect(0, Math.round(this.pointer[1]), view.width, 1);
      g.fillRect(Math.round(this.pointer[0]), 0, 1, view.height);
    }
  }
  drawOne(g, view, shape) {
    const line = new Path2D(), [x1, y1] = view.toScreen(shape.box), [x2, y2] = view.toScreen([shape.box[2], shape.box[3]]);
    if (shape.kind === 'mask') {
      if (this.ghosts.has(shape.id)) this.painter.mask(g, view, shape);
      line.rect(x1 - 2, y1 - 2, x2 - x1 + 4, y2 - y1 + 4);
    } else this.painter.trace(line, shape, view);
    this.painter.strokePath(g, line, {...shape, kind: 'box'}, shape.kind === 'mask' ? 0 : Math.max(0.2, this.opacity * 0.6), 2.5);
  }
  colour() { return colourOf(this, this.cls); }
}

// The pixels of any shape; null when there are none.
export const rasterFrom = (shape, size) => {
  if (shape.kind === 'mask') return rasterOf(shape);
  const [x1, y1, x2, y2] = shape.box, box = [Math.max(0, Math.floor(x1)), Math.max(0, Math.floor(y1)), Math.min(size[0], Math.ceil(x2)), Math.min(size[1], Math.ceil(y2))];
  if (box[2] <= box[0] || box[3] <= box[1]) return null;
  const raster = emptyRaster(box);
  fillRings(raster, shape.kind === 'box' ? [ringOfBox(shape.box)] : [...shape.rings, ...shape.holes], 1);
  return raster;
};
export const polygonOf = (mask) => {
  const rings = outlines(rasterOf(mask)).map((ring) => simplified(ring, 0.75));
  const nested = (ring) => rings.filter((other) => other !== ring && boxInBox(bounds(ring), bounds(other)) && pointInRing([ring[0] + 1e-3, ring[1] + 1e-3], other)).length % 2;
  const outer = rings.filter((ring) => !nested(ring));
  return makePolygon(mask.cls, outer.length ? outer : rings, outer.length ? rings.filter(nested) : []);
};
const bounds = (ring) => ring.reduce((box, value, i) => { const k = i % 2; box[k] = Math.min(box[k], value); box[k + 2] = Math.max(box[k + 2], value); return box; },
  [Infinity, Infinity, -Infinity, -Infinity]);
const cut = (ring) => {
  const count = ring.length / 2;
  if (count < 4) return null;
  let best = null;
  for (let i = 0; i < count; i += 1) {
    const j = (i + Math.floor(count / 2)) % count, far = distance([ring[2 * i], ring[2 * i + 1]], [ring[2 * j], ring[2 * j + 1]]);
    if (!best || far < best.far) best = {i, j, far};
  }
  return splitAt(ring, best.i, best.j);
};
