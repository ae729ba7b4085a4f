// Where the image lies on the canvas: screen = image * scale + offset, in CSS pixels.
import {clamp} from './geometry.js';

export const LARGEST_SCALE = 64;
const KEPT = 48;  // so much of the image always stays in sight

export class View {
  constructor() {
    Object.assign(this, {scale: 1, x: 0, y: 0, width: 1, height: 1, size: [1, 1], fitted: true});
  }
  // The canvas in CSS pixels. A view that showed the whole image still does.
  resize(width, height) {
    if (width < 1 || height < 1) return;
    const [cx, cy] = this.toImage([this.width / 2, this.height / 2]);
    Object.assign(this, {width, height});
    if (this.fitted) this.fit(); else { this.x = width / 2 - cx * this.scale; this.y = height / 2 - cy * this.scale; this.hold(); }
  }
  setImage(size) {
    this.size = size;
    this.fit();
  }
  get fitScale() {
    return Math.min(this.width / this.size[0], this.height / this.size[1]) * 0.97;
  }
  get smallest() {
    return Math.min(this.fitScale, 1) / 4;
  }
  fit() {
    this.scale = Math.min(this.fitScale, LARGEST_SCALE);
    this.x = (this.width - this.size[0] * this.scale) / 2;
    this.y = (this.height - this.size[1] * this.scale) / 2;
    this.fitted = true;
  }
  toImage([x, y]) { return [(x - this.x) / this.scale, (y - this.y) / this.scale]; }
  toScreen([x, y]) { return [x * this.scale + this.x, y * this.scale + this.y]; }
  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.fitted = false;
    this.hold();
  }
  // The point of the image under `at` stays there.
  zoom(factor, at) {
    const [ix, iy] = this.toImage(at);
    this.scale = clamp(this.scale * factor, this.smallest, LARGEST_SCALE);
    this.x = at[0] - ix * this.scale;
    this.y = at[1] - iy * this.scale;
    this.fitted = false;
    this.hold();
  }
  // Two fingers: what lay under them still does.
  pinch(from, to) {
    const gap = ([a, b]) => Math.max(Math.hypot(a[0] - b[0], a[1] - b[1]), 1), middle = ([a, b]) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
    const [x0, y0] = middle(from), [x1, y1] = middle(to);
    this.zoom(gap(to) / gap(from), [x0, y0]);
    this.pan(x1 - x0, y1 - y0);
  }
  show(box, slack = 0.6) {
    const scale = Math.min(this.width / Math.max(box[2] - box[0], 1), this.height / Math.max(box[3] - box[1], 1)) * slack;
    this.scale = clamp(scale, this.smallest, LARGEST_SCALE / 2);
    this.x = this.width / 2 - (box[0] + box[2]) / 2 * this.scale;
    this.y = this.height / 2 - (box[1] + box[3]) / 2 * this.scale;
    this.fitted = false;
  }
  hold() {
    const kept = (low, length, room) => clamp(low, Math.min(KEPT, room / 2) - length, room - Math.min(KEPT, room / 2));
    this.x = kept(this.x, this.size[0] * this.scale, this.width);
    this.y = kept(this.y, this.size[1] * this.scale, this.height);
  }
}
