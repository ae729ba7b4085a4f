// Shapes that come from another image, or from an earlier version of this one, cut to where the image is.
import {boxOfRings, ringArea, rounded} from './geometry.js';
import {emptyRaster} from './runs.js';
import {makeMask, rasterOf} from './shapes.js';

const SMALLEST_AREA = 1e-4;  // of a ring, in pixels: less is a line along the border

// The part of a ring on one side of a line: axis 0 is x, 1 is y; `sign` 1 keeps what is at least `limit`, -1 what is at most.
const halfOf = (ring, axis, limit, sign) => {
  const kept = [], within = (at) => sign * (ring[at + axis] - limit) >= 0;
  for (let i = 0; i < ring.length; i += 2) {
    const j = (i + 2) % ring.length;
    if (within(i)) kept.push(ring[i], ring[i + 1]);
    if (within(i) !== within(j)) {
      const share = (limit - ring[i + axis]) / (ring[j + axis] - ring[i + axis]), other = rounded(ring[i + 1 - axis] + share * (ring[j + 1 - axis] - ring[i + 1 - axis]));
      kept.push(...(axis ? [other, limit] : [limit, other]));
    }
  }
  return kept;
};
const clippedRings = (rings, [width, height]) => rings
  .map((ring) => [[0, 0, 1], [0, width, -1], [1, 0, 1], [1, height, -1]].reduce((part, [axis, limit, sign]) => halfOf(part, axis, limit, sign), ring))
  .filter((ring) => ring.length >= 6 && ringArea(ring) > SMALLEST_AREA);
const clippedMask = (shape, size) => {
  const raster = rasterOf(shape), x2 = Math.min(size[0], raster.x + raster.w), y2 = Math.min(size[1], raster.y + raster.h);
  if (x2 <= raster.x || y2 <= raster.y) return null;
  const part = emptyRaster([raster.x, raster.y, x2, y2]);
  for (let row = 0; row < part.h; row += 1) part.bits.set(raster.bits.subarray(row * raster.w, row * raster.w + part.w), row * part.w);
  const made = makeMask(shape.cls, part, size, shape.id);
  return made && {...shape, size: made.size, counts: made.counts, box: made.box};
};
// The part of a shape that lies on an image of `size` = [width, height]; the shape itself when all of it does, null when nothing does.
export const clipped = (shape, size) => {
  const [x1, y1, x2, y2] = shape.box, box = [Math.max(0, x1), Math.max(0, y1), Math.min(size[0], x2), Math.min(size[1], y2)];
  if (shape.kind === 'mask') return shape.size[0] === size[1] && shape.size[1] === size[0] ? shape : clippedMask(shape, size);
  if (box[2] <= box[0] || box[3] <= box[1]) return null;
  if (box.every((value, i) => value === shape.box[i])) return shape;
  if (shape.kind === 'box') return {...shape, box};
  const rings = clippedRings(shape.rings, size);
  return rings.length ? {...shape, rings, holes: clippedRings(shape.holes, size), box: boxOfRings(rings)} : null;
};
