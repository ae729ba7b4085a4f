// Filling: a click closes the hole of a mask that it lies in, else takes the pixels around it that look alike.
import {boxOf} from './tools_brush.js';
import {bitAt, emptyRaster, trimmed} from './runs.js';
import {rasterOf} from './shapes.js';

export const MOST_TOLERANCE = 128;

export const fillTool = (studio) => {
  let at = null;
  return {
    name: 'fill', cursor: 'crosshair', draws: true,
    down(point) { at = point; },
    move() {},
    up() {
      if (!at) return;
      const [x, y] = at.map(Math.floor), [w, h] = studio.size;
      at = null;
      if (x < 0 || y < 0 || x >= w || y >= h) return;
      const area = holeAt(studio, [x, y]) ?? alike(studio.painter.picture.pixels(), [x, y], studio.tolerance, studio.size);
      if (area) studio.paintArea(area);
    },
    cancel() { at = null; },
  };
};

// The hole around a point of the mask that would be painted on; null when the point lies on it or outside.
const holeAt = (studio, point) => {
  const mask = studio.paintTarget();
  if (!mask || mask.kind !== 'mask') return null;
  const raster = rasterOf(mask);
  if (bitAt(raster, point) || point[0] < raster.x || point[1] < raster.y || point[0] >= raster.x + raster.w || point[1] >= raster.y + raster.h) return null;
  const hole = flooded(raster.w, raster.h, point[0] - raster.x, point[1] - raster.y, (i) => raster.bits[i] === 0);
  return hole.edge ? null : {...raster, bits: hole.bits};
};
// A raster without its holes.
export const closed = (raster) => {
  const [x1, y1, x2, y2] = boxOf(raster), wide = emptyRaster([x1 - 1, y1 - 1, x2 + 1, y2 + 1]);
  for (let row = 0; row < raster.h; row += 1) wide.bits.set(raster.bits.subarray(row * raster.w, (row + 1) * raster.w), (row + 1) * wide.w + 1);
  const outside = flooded(wide.w, wide.h, 0, 0, (i) => wide.bits[i] === 0).bits, made = emptyRaster(boxOf(raster));
  for (let row = 0; row < made.h; row += 1) for (let column = 0; column < made.w; column += 1) made.bits[row * made.w + column] = 1 - outside[(row + 1) * wide.w + column + 1];
  return made;
};
// Connected pixels no channel of which differs by more than `tolerance` from the one clicked. `pixels`: {data: RGBA, width, height}, perhaps smaller.
export const alike = (pixels, [x, y], tolerance, [width, height]) => {
  const {data} = pixels, w = pixels.width, h = pixels.height, sx = Math.min(w - 1, Math.floor(x * w / width)), sy = Math.min(h - 1, Math.floor(y * h / height));
  const first = (sy * w + sx) * 4, [red, green, blue] = [data[first], data[first + 1], data[first + 2]];
  const like = (i) => { const k = i * 4; return Math.abs(data[k] - red) <= tolerance && Math.abs(data[k + 1] - green) <= tolerance && Math.abs(data[k + 2] - blue) <= tolerance; };
  const {bits} = flooded(w, h, sx, sy, like);
  if (w === width && h === height) return trimmed({x: 0, y: 0, w, h, bits});
  const made = emptyRaster([0, 0, width, height]);
  for (let row = 0; row < height; row += 1) for (let column = 0; column < width; column += 1) made.bits[row * width + column] = bits[Math.floor(row * h / height) * w + Math.floor(column * w / width)];
  return trimmed(made);
};
// Four-connected pixels for which `free(index)` holds, line by line; `edge`: whether they reach the border.
export const flooded = (w, h, x, y, free) => {
  const bits = new Uint8Array(w * h), stack = [[x, y]];
  let edge = false;
  while (stack.length) {
    const [column, row] = stack.pop(), line = row * w;
    if (bits[line + column] || !free(line + column)) continue;
    let left = column, right = column;
    while (left > 0 && !bits[line + left - 1] && free(line + left - 1)) left -= 1;
    while (right < w - 1 && !bits[line + right + 1] && free(line + right + 1)) right += 1;
    edge ||= left === 0 || right === w - 1 || row === 0 || row === h - 1;
    bits.fill(1, line + left, line + right + 1);
    for (const next of [row - 1, row + 1]) {
      if (next < 0 || next >= h) continue;
      for (let i = left, before = false; i <= right; i += 1) {
        const open = !bits[next * w + i] && free(next * w + i);
        if (open && !before) stack.push([i, next]);
        before = open;
      }
    }
  }
  return {bits, edge};
};
