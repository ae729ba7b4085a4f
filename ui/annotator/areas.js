// From outlines to pixels and back.
import {boxInBox, boxesMeet, distance, pointInRing, ringOfBox, simplified, splitAt} from './geometry.js';
import {bitAt, emptyRaster, fillRings, outlines} from './runs.js';
import {makePolygon, rasterOf} from './shapes.js';

// The pixels of any shape; null when there are none.
export const rasterFrom = (shape, size) => {
  if (shape.kind === 'mask') return rasterOf(shape);
  const [x1, y1, x2, y2] = shape.box, box = [Math.max(0, Math.floor(x1)), Math.max(0, Math.floor(y1)), Math.min(size[0], Math.ceil(x2)), Math.min(size[1], Math.ceil(y2))];
  if (box[2] <= box[0] || box[3] <= box[1]) return null;
  const raster = emptyRaster(box);
  fillRings(raster, shape.kind === 'box' ? [ringOfBox(shape.box)] : [...shape.rings, ...shape.holes], 1);
  return raster;
};
// Does a shape have pixels within an area?
export const meets = (shape, area, size) => {
  const raster = boxesMeet(shape.box, [area.x, area.y, area.x + area.w, area.y + area.h]) ? rasterFrom(shape, size) : null;
  return raster !== null && area.bits.some((bit, i) => bit && bitAt(raster, [area.x + i % area.w, area.y + Math.floor(i / area.w)]));
};
export const polygonOf = (mask) => {
  const rings = outlines(rasterOf(mask)).map((ring) => simplified(ring, 0.75));
  const nested = (ring) => rings.filter((other) => other !== ring && boxInBox(bounds(ring), bounds(other)) && pointInRing([ring[0] + 1e-3, ring[1] + 1e-3], other)).length % 2;
  const outer = rings.filter((ring) => !nested(ring));
  return makePolygon(mask.cls, outer.length ? outer : rings, outer.length ? rings.filter(nested) : []);
};
const bounds = (ring) => ring.reduce((box, value, i) => { const k = i % 2; box[k] = Math.min(box[k], value); box[k + 2] = Math.max(box[k + 2], value); return box; },
  [Infinity, Infinity, -Infinity, -Infinity]);
// The two parts of a ring, cut where two vertices across from each other lie nearest; null when there are too few.
export const cut = (ring) => {
  const count = ring.length / 2;
  if (count < 4) return null;
  let best = null;
  for (let i = 0; i < count; i += 1) {
    const j = (i + Math.floor(count / 2)) % count, far = distance([ring[2 * i], ring[2 * i + 1]], [ring[2 * j], ring[2 * j + 1]]);
    if (!best || far < best.far) best = {i, j, far};
  }
  return splitAt(ring, best.i, best.j);
};
