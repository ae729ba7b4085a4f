// The image in halved sizes, so that a small view of a large image costs little, with its tones changed as a person asks.

export const PLAIN = {low: 0, high: 255, brightness: 0, contrast: 0, invert: false};

// 256 output values: a window of tones, then contrast around the middle and brightness, both -100..100.
export const toneTable = ({low, high, brightness, contrast, invert}) => {
  const table = new Uint8ClampedArray(256), slope = contrast >= 0 ? 1 + contrast / 25 : 1 + contrast / 100, span = Math.max(high - low, 1);
  for (let value = 0; value < 256; value += 1) {
    const shown = ((value - low) / span * 255 - 127.5) * slope + 127.5 + brightness * 2.55;
    table[value] = invert ? 255 - shown : shown;
  }
  return table;
};
export const isPlain = (tones) => Object.keys(PLAIN).every((name) => tones[name] === PLAIN[name]);

export class Picture {
  // `levels[0]` is what a canvas can draw, each further one half as large; `size` = [width, height] of the original, which may be larger.
  constructor(levels, size) {
    this.size = size;
    this.levels = levels;
    this.toned = new Map();
    this.tones = PLAIN;
  }
  setTones(tones) {
    this.tones = tones;
    this.toned.clear();
  }
  // Draws what of the image lies in sight.
  draw(g, view) {
    const {scale, x, y, width, height} = view, [w, h] = this.size;
    const left = Math.max(0, Math.floor(-x / scale)), top = Math.max(0, Math.floor(-y / scale));
    const right = Math.min(w, Math.ceil((width - x) / scale)), bottom = Math.min(h, Math.ceil((height - y) / scale));
    if (right <= left || bottom <= top) return;
    const source = this.level(scale), sx = source.width / w, sy = source.height / h;
    g.imageSmoothingEnabled = scale / sx < 3;
    g.imageSmoothingQuality = 'low';
    g.drawImage(source, left * sx, top * sy, (right - left) * sx, (bottom - top) * sy,
      x + left * scale, y + top * scale, (right - left) * scale, (bottom - top) * scale);
  }
  // {data, width, height} of the largest level, without changed tones.
  pixels() {
    if (!this.read) {
      const source = this.levels[0], copy = sheet(source.width, source.height), g = copy.getContext('2d', {willReadFrequently: true});
      g.drawImage(source, 0, 0);
      this.read = g.getImageData(0, 0, copy.width, copy.height);
    }
    return this.read;
  }
  level(scale) {
    const wanted = scale * this.size[0] * Math.min(globalThis.devicePixelRatio || 1, 2);
    let at = 0;
    while (this.made(at).width / 2 >= wanted && this.made(at).width > 64) at += 1;
    return isPlain(this.tones) ? this.made(at) : this.tonedLevel(at);
  }
  made(at) {
    while (this.levels.length <= at) {
      const last = this.levels.at(-1), next = sheet(Math.max(1, last.width >> 1), Math.max(1, last.height >> 1)), g = next.getContext('2d');
      g.imageSmoothingQuality = 'medium';
      g.drawImage(last, 0, 0, next.width, next.height);
      this.levels.push(next);
    }
    return this.levels[at];
  }
  tonedLevel(at) {
    let made = this.toned.get(at);
    if (!made) {
      const source = this.made(at), table = toneTable(this.tones);
      made = sheet(source.width, source.height);
      const g = made.getContext('2d', {willReadFrequently: true});
      g.drawImage(source, 0, 0);
      const pixels = g.getImageData(0, 0, made.width, made.height), data = pixels.data;
      for (let i = 0; i < data.length; i += 4) { data[i] = table[data[i]]; data[i + 1] = table[data[i + 1]]; data[i + 2] = table[data[i + 2]]; }
      g.putImageData(pixels, 0, 0);
      this.toned.set(at, made);
    }
    return made;
  }
}

export const sheet = (width, height) => Object.assign(document.createElement('canvas'), {width, height});
