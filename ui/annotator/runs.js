// Masks: pixels of a part of the image, and COCO's compressed run lengths (columns first, beginning with nothing).
// A raster is {x, y, w, h, bits}: bits[row * w + column] is 1 where the pixel (x + column, y + row) belongs to the mask.
import {clamp} from './geometry.js';

export const runsOf = (counts) => {
  const runs = [];
  let at = 0;
  while (at < counts.length) {
    let value = 0, shift = 0, more = true;
    while (more) {
      const byte = counts.charCodeAt(at) - 48;
      if (!(byte >= 0 && byte < 64) || shift > 30) throw new Error('run lengths');
      value |= (byte & 31) << shift;
      more = (byte & 32) !== 0;
      at += 1;
      shift += 5;
      if (!more && byte & 16 && shift < 32) value |= -1 << shift;
    }
    runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value);
  }
  return runs;
};
export const countsOf = (runs) => {
  let text = '';
  for (let i = 0; i < runs.length; i += 1) {
    let value = i > 2 ? runs[i] - runs[i - 2] : runs[i], more = true;
    while (more) {
      let byte = value & 31;
      value >>= 5;
      more = byte & 16 ? value !== -1 : value !== 0;
      if (more) byte |= 32;
      text += String.fromCharCode(byte + 48);
    }
  }
  return text;
};

// The pixels of run lengths of an image of `height`, cut to where there are any; null when there are none.
export const rasterOfRuns = (runs, height) => {
  let at = 0, left = Infinity, right = -1, top = Infinity, bottom = -1;
  runs.forEach((run, i) => {
    if (i % 2 && run) {
      const first = Math.floor(at / height), last = Math.floor((at + run - 1) / height);
      left = Math.min(left, first);
      right = Math.max(right, last);
      if (last > first) { top = 0; bottom = height - 1; } else {
        top = Math.min(top, at % height);
        bottom = Math.max(bottom, (at + run - 1) % height);
      }
    }
    at += run;
  });
  if (right < 0) return null;
  const made = emptyRaster([left, top, right + 1, bottom + 1]);
  at = 0;
  runs.forEach((run, i) => {
    if (i % 2) for (let k = at; k < at + run; k += 1) made.bits[(k % height - top) * made.w + Math.floor(k / height) - left] = 1;
    at += run;
  });
  return made;
};
export const runsOfRaster = (raster, [width, height]) => {
  const runs = [];
  let value = 0, run = 0;
  const add = (bit, length) => {
    if (bit === value) { run += length; return; }
    runs.push(run);
    value = bit;
    run = length;
  };
  add(0, raster.x * height);
  for (let column = 0; column < raster.w; column += 1) {
    add(0, raster.y);
    for (let row = 0; row < raster.h; row += 1) add(raster.bits[row * raster.w + column], 1);
    add(0, height - raster.y - raster.h);
  }
  add(0, (width - raster.x - raster.w) * height);
  runs.push(run);
  return runs;
};

export const emptyRaster = ([x1, y1, x2, y2]) => ({x: x1, y: y1, w: x2 - x1, h: y2 - y1, bits: new Uint8Array((x2 - x1) * (y2 - y1))});
// A copy that reaches over `box` (whole pixels within the image) as well.
export const grown = (raster, box) => {
  const whole = raster ? [Math.min(raster.x, box[0]), Math.min(raster.y, box[1]), Math.max(raster.x + raster.w, box[2]),
    Math.max(raster.y + raster.h, box[3])] : box;
  const made = emptyRaster(whole);
  if (raster) {
    for (let row = 0; row < raster.h; row += 1) {
      made.bits.set(raster.bits.subarray(row * raster.w, (row + 1) * raster.w), (row + raster.y - made.y) * made.w + raster.x - made.x);
    }
  }
  return made;
};
// Cut to where there is something; null when nothing is left.
export const trimmed = (raster) => {
  let left = raster.w, right = -1, top = -1, bottom = -1;
  for (let row = 0; row < raster.h; row += 1) {
    const line = raster.bits.subarray(row * raster.w, (row + 1) * raster.w), first = line.indexOf(1);
    if (first < 0) continue;
    if (top < 0) top = row;
    bottom = row;
    left = Math.min(left, first);
    right = Math.max(right, line.lastIndexOf(1));
  }
  if (right < 0) return null;
  const made = emptyRaster([raster.x + left, raster.y + top, raster.x + right + 1, raster.y + bottom + 1]);
  for (let row = 0; row < made.h; row += 1) {
    const from = (row + top) * raster.w + left;
    made.bits.set(raster.bits.subarray(from, from + made.w), row * made.w);
  }
  return made;
};

// Pixels whose centre is at most `radius` away from the way from a to b: the mark of a round brush. Returns whether anything changed.
export const strokeBox = (a, b, radius, [width, height]) => [
  clamp(Math.floor(Math.min(a[0], b[0]) - radius), 0, width), clamp(Math.floor(Math.min(a[1], b[1]) - radius), 0, height),
  clamp(Math.ceil(Math.max(a[0], b[0]) + radius), 0, width), clamp(Math.ceil(Math.max(a[1], b[1]) + radius), 0, height)];
export const stroke = (raster, a, b, radius, bit) => {
  const dx = b[0] - a[0], dy = b[1] - a[1], length = dx * dx + dy * dy, reach = radius * radius;
  const top = Math.max(raster.y, Math.floor(Math.min(a[1], b[1]) - radius)), bottom = Math.min(raster.y + raster.h, Math.ceil(Math.max(a[1], b[1]) + radius));
  const left = Math.max(raster.x, Math.floor(Math.min(a[0], b[0]) - radius)), right = Math.min(raster.x + raster.w, Math.ceil(Math.max(a[0], b[0]) + radius));
  for (let row = top; row < bottom; row += 1) {
    const py = row + 0.5 - a[1], line = (row - raster.y) * raster.w - raster.x;
    for (let column = left; column < right; column += 1) {
      const px = column + 0.5 - a[0], share = length ? clamp((px * dx + py * dy) / length, 0, 1) : 0;
      const ex = px - share * dx, ey = py - share * dy;
      if (ex * ex + ey * ey <= reach) raster.bits[line + column] = bit;
    }
  }
};
// Fills the pixels whose centre lies inside the rings (even-odd), within the raster.
export const fillRings = (raster, rings, bit) => {
  for (let row = 0; row < raster.h; row += 1) {
    const y = raster.y + row + 0.5, cuts = [];
    for (const ring of rings) {
      for (let i = 0, j = ring.length - 2; i < ring.length; j = i, i += 2) {
        if ((ring[i + 1] > y) !== (ring[j + 1] > y)) cuts.push(ring[i] + (y - ring[i + 1]) * (ring[j] - ring[i]) / (ring[j + 1] - ring[i + 1]));
      }
    }
    cuts.sort((a, b) => a - b);
    for (let k = 0; k + 1 < cuts.length; k += 2) {
      const from = clamp(Math.ceil(cuts[k] - 0.5) - raster.x, 0, raster.w), to = clamp(Math.ceil(cuts[k + 1] - 0.5) - raster.x, 0, raster.w);
      raster.bits.fill(bit, row * raster.w + from, row * raster.w + to);
    }
  }
};
// Puts a raster into another (bit 1) or takes it out (bit 0); what lies outside of `raster` is left alone.
export const combine = (raster, other, bit) => {
  for (let row = Math.max(raster.y, other.y); row < Math.min(raster.y + raster.h, other.y + other.h); row += 1) {
    for (let column = Math.max(raster.x, other.x); column < Math.min(raster.x + raster.w, other.x + other.w); column += 1) {
      if (other.bits[(row - other.y) * other.w + column - other.x]) raster.bits[(row - raster.y) * raster.w + column - raster.x] = bit;
    }
  }
};
export const bitAt = (raster, [x, y]) => {
  const column = Math.floor(x) - raster.x, row = Math.floor(y) - raster.y;
  return column >= 0 && row >= 0 && column < raster.w && row < raster.h ? raster.bits[row * raster.w + column] : 0;
};
export const countBits = (raster) => raster.bits.reduce((sum, bit) => sum + bit, 0);

// Outlines of a raster as rings along pixel borders, holes among them: together they fill it by the even-odd rule.
export const outlines = (raster) => {
  const {w, h, bits} = raster, at = (column, row) => (column >= 0 && row >= 0 && column < w && row < h ? bits[row * w + column] : 0);
  const next = new Map();  // corner -> corners that follow, with the mask on the right
  const edge = (x1, y1, x2, y2) => { const key = y1 * (w + 1) + x1; next.set(key, [...(next.get(key) || []), y2 * (w + 1) + x2]); };
  for (let row = 0; row < h; row += 1) {
    for (let column = 0; column < w; column += 1) {
      if (!at(column, row)) continue;
      if (!at(column, row - 1)) edge(column, row, column + 1, row);
      if (!at(column + 1, row)) edge(column + 1, row, column + 1, row + 1);
      if (!at(column, row + 1)) edge(column + 1, row + 1, column, row + 1);
      if (!at(column - 1, row)) edge(column, row + 1, column, row);
    }
  }
  const rings = [];
  for (const start of next.keys()) {
    while (next.get(start)?.length) {
      const corners = [];
      let here = start, before = null;
      do {
        const ways = next.get(here);
        let pick = 0;
        if (ways.length > 1 && before !== null) {  // where two corners touch, turn right, so that they stay apart
          const turn = here - before;
          pick = Math.max(0, ways.findIndex((way) => way - here === (Math.abs(turn) === 1 ? turn * (w + 1) : -Math.sign(turn))));
        }
        const [to] = ways.splice(pick, 1);
        if (before === null || to - here !== here - before) corners.push(here);
        before = here;
        here = to;
      } while (here !== start);
      if (corners.length > 3) rings.push(corners.flatMap((key) => [key % (w + 1) + raster.x, Math.floor(key / (w + 1)) + raster.y]));
    }
  }
  return rings;
};
