// Two canvases over each other: the image with all shapes from a cached layer, and what moves with the pointer on top.
import {pointInBox, signedArea} from './geometry.js';
import {sheet} from './picture.js';
import {rasterOf} from './shapes.js';

const MARGIN = 0.25;  // so much more than is in sight is in the layer, on each side
const SETTLE_MS = 110;
const TINT_BYTES = 128 << 20;
const MOST_NAMES = 250;
const WELL = '#0A0E12';
const HALO = 'rgb(10 14 18 / 70%)';
export const SUGGESTED_DASH = [7, 5];
export const VOID_COLOUR = '#9AA4AE';

export class Painter {
  constructor(base, top, studio) {
    Object.assign(this, {base, top, studio, picture: null, layer: sheet(1, 1), drawn: null, stale: true, wanted: 0, tints: new Map(), tintBytes: 0});
    this.settle = 0;
    this.frames = 0;
  }
  get ratio() { return Math.min(globalThis.devicePixelRatio || 1, 2); }
  resize() {
    const {width, height} = this.studio.view;
    for (const canvas of [this.base, this.top]) {
      canvas.width = Math.max(1, Math.round(width * this.ratio));
      canvas.height = Math.max(1, Math.round(height * this.ratio));
    }
    this.refresh();
  }
  // The shapes have changed: the layer is made anew with the next frame.
  refresh() {
    this.stale = true;
    this.request();
  }
  request() {
    if (this.wanted) return;
    this.wanted = requestAnimationFrame(() => { this.wanted = 0; this.frame(); });
  }
  frame() {
    const {view} = this.studio, g = this.base.getContext('2d', {alpha: false});
    if (this.stale) this.render();
    g.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    g.fillStyle = WELL;
    g.fillRect(0, 0, view.width, view.height);
    if (!this.picture) { this.over(view); return; }
    this.picture.draw(g, view);
    this.moved(g, view);
    this.over(view);
    this.frames += 1;
  }
  // The part of the layer that is in sight, as large as it is now.
  moved(g, view) {
    const {drawn, ratio} = this, factor = view.scale / drawn.scale, left = view.x - drawn.x * factor, top = view.y - drawn.y * factor;
    const x1 = Math.max(0, left), y1 = Math.max(0, top), x2 = Math.min(view.width, left + drawn.width * factor), y2 = Math.min(view.height, top + drawn.height * factor);
    g.imageSmoothingEnabled = false;  // it moves, and is sharp a moment later
    const source = [(x1 - left) / factor, (y1 - top) / factor, (x2 - x1) / factor, (y2 - y1) / factor].map((value) => value * ratio);
    if (x2 > x1 && y2 > y1) g.drawImage(this.layer, ...source, x1, y1, x2 - x1, y2 - y1);
    if (factor !== 1 || this.outside(view)) this.later();
  }
  // While a person zooms or pans, the layer is only moved; it is made sharp once they rest.
  later() {
    clearTimeout(this.settle);
    this.settle = setTimeout(() => this.refresh(), SETTLE_MS);
  }
  outside(view) {
    const {drawn} = this;
    return view.x - drawn.x > 0.5 || view.y - drawn.y > 0.5 || view.x - drawn.x + drawn.width < view.width - 0.5
      || view.y - drawn.y + drawn.height < view.height - 0.5;
  }
  render() {
    clearTimeout(this.settle);
    const {view} = this.studio, mx = Math.round(view.width * MARGIN), my = Math.round(view.height * MARGIN);
    const width = view.width + 2 * mx, height = view.height + 2 * my;
    this.layer.width = Math.round(width * this.ratio);
    this.layer.height = Math.round(height * this.ratio);
    this.drawn = {scale: view.scale, x: view.x + mx, y: view.y + my, width, height};
    const g = this.layer.getContext('2d');
    g.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    if (this.picture) this.shapes(g, {...this.drawn}, this.studio.shown());
    this.stale = false;
  }
  // All shapes, those of one look in one stroke.
  shapes(g, place, shapes) {
    const low = [-place.x / place.scale, -place.y / place.scale];
    const sight = [...low, low[0] + place.width / place.scale, low[1] + place.height / place.scale], looks = new Map();
    for (const shape of shapes) {
      const box = shape.box;
      if (box[0] > sight[2] || box[2] < sight[0] || box[1] > sight[3] || box[3] < sight[1]) continue;
      if (shape.kind === 'mask') { this.mask(g, place, shape); continue; }
      const look = shape.holes?.length ? shape.id : `${shape.cls}/${shape.state}`;
      if (!looks.has(look)) looks.set(look, {shape, line: new Path2D()});
      trace(looks.get(look).line, shape, place);
    }
    for (const {shape, line} of looks.values()) this.strokePath(g, line, shape, this.studio.opacity);
    if (this.studio.names) this.labels(g, place, shapes);
  }
  strokePath(g, line, shape, opacity, width = 1.5) {  // holes are cut out; shapes of one look may overlap
    g.fillStyle = colourOf(this.studio, shape.cls);
    g.globalAlpha = opacity * 0.6;
    if (opacity > 0) g.fill(line, shape.holes?.length ? 'evenodd' : 'nonzero');
    g.globalAlpha = 1;
    g.lineJoin = 'round';
    g.setLineDash([]);
    g.lineWidth = width + 2;
    g.strokeStyle = HALO;
    g.stroke(line);
    g.setLineDash(shape.state === 'suggested' ? SUGGESTED_DASH : dashOf(this.studio, shape.cls, width));
    g.lineWidth = width;
    g.strokeStyle = colourOf(this.studio, shape.cls);
    g.stroke(line);
    g.setLineDash([]);
  }
  mask(g, place, shape) {
    const tint = this.tint(shape);
    if (!tint) return;
    g.imageSmoothingEnabled = place.scale < 1;
    g.globalAlpha = shape.state === 'suggested' ? 0.6 : 1;
    g.drawImage(tint, place.x + shape.box[0] * place.scale, place.y + shape.box[1] * place.scale, tint.width * place.scale, tint.height * place.scale);
    g.globalAlpha = 1;
  }
  // A mask's pixels in its colour, with a stronger rim; void pixels in stripes.
  tint(shape) {
    const key = `${shape.cls}/${this.studio.opacity}`, known = this.tints.get(shape);
    if (known?.key === key) return known.canvas;
    const raster = rasterOf(shape), {w, h, bits} = raster;
    if (!w || !h) return null;
    const canvas = sheet(w, h), g = canvas.getContext('2d'), pixels = g.createImageData(w, h), ink = new Uint32Array(pixels.data.buffer);
    const colour = colourOf(this.studio, shape.cls), [red, green, blue] = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
    const alpha = Math.round(255 * this.studio.opacity), solid = (blue << 16) | (green << 8) | red;
    const body = (alpha << 24) | solid, rim = (Math.min(255, alpha + 110) << 24) | solid;
    for (let row = 0, at = 0; row < h; row += 1) {
      for (let column = 0; column < w; column += 1, at += 1) {
        if (!bits[at] || (shape.cls < 0 && (row + column) % 8 < 4)) continue;
        const edge = !column || column === w - 1 || !row || row === h - 1 || !bits[at - 1] || !bits[at + 1] || !bits[at - w] || !bits[at + w];
        ink[at] = edge ? rim : body;
      }
    }
    g.putImageData(pixels, 0, 0);
    if (known) this.tintBytes -= known.canvas.width * known.canvas.height * 4;
    this.tints.delete(shape);
    this.tints.set(shape, {key, canvas});
    this.tintBytes += w * h * 4;
    for (const [old, kept] of this.tints) {
      if (this.tintBytes <= TINT_BYTES || old === shape) break;
      this.tints.delete(old);
      this.tintBytes -= kept.canvas.width * kept.canvas.height * 4;
    }
    return canvas;
  }
  labels(g, place, shapes) {
    const big = shapes.filter((shape) => (shape.box[2] - shape.box[0]) * place.scale > 34);
    if (big.length <= MOST_NAMES) big.forEach((shape) => this.name(g, place, shape));
  }
  name(g, place, shape) {
    const {classes} = this.studio, score = shape.state === 'suggested' && shape.score ? ` ${Math.round(shape.score * 100)}%` : '';
    const words = (classes[shape.cls]?.name ?? '-') + score, text = words.length > 28 ? `${words.slice(0, 27)}…` : words;
    g.font = '12px system-ui, "Noto Sans SC", "PingFang SC", "Microsoft YaHei", sans-serif';
    const width = g.measureText(text).width + 8, x = place.x + shape.box[0] * place.scale - 1, y = place.y + shape.box[1] * place.scale - 1;
    const above = y - 17 > place.y - this.studio.view.y ? y - 17 : y + 2;  // within the shape where there is no room over it
    g.fillStyle = colourOf(this.studio, shape.cls);
    g.globalAlpha = 0.92;
    g.fillRect(x, above, width, 16);
    g.globalAlpha = 1;
    g.fillStyle = inkOn(colourOf(this.studio, shape.cls));
    g.textBaseline = 'middle';
    g.fillText(text, x + 4, above + 8.5);
  }
  // What is in the hand or chosen, and what the tool shows.
  above(g, view) {
    const {studio} = this;
    for (const shape of studio.ghosts.values()) this.one(g, view, shape);
    for (const shape of studio.selected()) if (!studio.ghosts.has(shape.id)) this.one(g, view, shape);
    studio.tool?.draw?.(g, view);
    if (studio.mistake?.box) this.mistake(g, view, studio.mistake.box);
    if (studio.cross && studio.pointer && studio.tool?.draws) {
      g.fillStyle = 'rgb(255 255 255 / 75%)';
      g.fillRect(0, Math.round(studio.pointer[1]), view.width, 1);
      g.fillRect(Math.round(studio.pointer[0]), 0, 1, view.height);
    }
  }
  one(g, view, shape) {
    const line = new Path2D(), [x1, y1] = view.toScreen(shape.box), [x2, y2] = view.toScreen([shape.box[2], shape.box[3]]);
    if (shape.kind === 'mask') {
      if (this.studio.ghosts.has(shape.id)) this.mask(g, view, shape);
      line.rect(x1 - 2, y1 - 2, x2 - x1 + 4, y2 - y1 + 4);
    } else trace(line, shape, view);
    this.strokePath(g, line, {...shape, kind: 'box'}, shape.kind === 'mask' ? 0 : Math.max(0.2, this.studio.opacity * 0.6), 2.5);
  }
  // Where a label may be wrong.
  mistake(g, view, box) {
    const [x1, y1] = view.toScreen(box), [x2, y2] = view.toScreen([box[2], box[3]]);
    for (const [colour, width] of [['#0A0E12', 5], ['#FFB74D', 2]]) {
      g.lineWidth = width;
      g.strokeStyle = colour;
      g.strokeRect(x1 - 6, y1 - 6, x2 - x1 + 12, y2 - y1 + 12);
    }
  }
  over(view) {
    const g = this.top.getContext('2d');
    g.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    g.clearRect(0, 0, view.width, view.height);
    if (this.picture) this.above(g, view);
  }
}

export const trace = (line, shape, {scale, x, y}) => {
  const small = (shape.box[2] - shape.box[0]) * scale < 4 && (shape.box[3] - shape.box[1]) * scale < 4;
  if (shape.kind === 'box' || small) {
    line.rect(x + shape.box[0] * scale, y + shape.box[1] * scale, (shape.box[2] - shape.box[0]) * scale, (shape.box[3] - shape.box[1]) * scale);
    return;
  }
  for (const ring of [...shape.rings, ...shape.holes]) {
    const turned = signedArea(ring) < 0, last = ring.length - 2;  // all the same way round, so that overlaps stay filled
    for (let i = 0; i <= last; i += 2) {
      const at = turned ? last - i : i, px = x + ring[at] * scale, py = y + ring[at + 1] * scale;
      if (i) line.lineTo(px, py); else line.moveTo(px, py);
    }
    line.closePath();
  }
};
export const colourOf = (studio, cls) => studio.classes[cls]?.color ?? VOID_COLOUR;
const dashOf = (studio, cls, width) => (studio.classes[cls]?.dash ?? []).map((length) => length * width);
export const inkOn = (colour) => {
  const [red, green, blue] = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue > 140 ? '#0A0E12' : '#FFFFFF';
};
export const knob = (g, [x, y], colour, round = false, filled = false) => {
  g.beginPath();
  if (round) g.arc(x, y, 4.5, 0, 2 * Math.PI); else g.rect(x - 4, y - 4, 8, 8);
  g.fillStyle = filled ? colour : '#FFFFFF';
  g.fill();
  g.lineWidth = 1.5;
  g.strokeStyle = filled ? '#FFFFFF' : '#0A0E12';
  g.stroke();
};
export const inSight = (point, view) => pointInBox(view.toScreen(point), [-10, -10, view.width + 10, view.height + 10]);
