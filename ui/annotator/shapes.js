// The model of labels. A shape never changes: an edit makes a new one, so undo and saving only hold references.
// Shape: {id, kind: "box" | "polygon" | "mask", cls, box, rings, holes, size, counts, state: "truth" | "suggested", score, crowd}
import {boxOfRings, nearestSide, pointInBox, pointInRing, ringArea, rounded, shiftWithin, shifted} from './geometry.js';
import {bitAt, countBits, countsOf, rasterOfRuns, runsOf, runsOfRaster, trimmed} from './runs.js';

let lastId = 0;
const newId = () => { lastId += 1; return lastId; };
const CACHE_BYTES = 256 << 20;
const rasters = new Map();  // shape -> raster, oldest first
let rasterBytes = 0;

export const makeBox = (cls, box) => ({id: newId(), kind: 'box', cls, box: box.map(rounded), state: 'truth'});
export const makePolygon = (cls, rings, holes = []) => {
  const outer = rings.map((ring) => ring.map(rounded));
  return {id: newId(), kind: 'polygon', cls, rings: outer, holes: holes.map((ring) => ring.map(rounded)), box: boxOfRings(outer), state: 'truth'};
};
// From pixels of an image of `size` = [width, height]; null when there are none.
export const makeMask = (cls, raster, size, id = newId()) => {
  const cut = raster && trimmed(raster);
  if (!cut) return null;
  const shape = {id, kind: 'mask', cls, size: [size[1], size[0]], counts: countsOf(runsOfRaster(cut, size)),
    box: [cut.x, cut.y, cut.x + cut.w, cut.y + cut.h], state: 'truth'};
  keepRaster(shape, cut);
  return shape;
};

const keepRaster = (shape, raster) => {
  rasters.set(shape, raster);
  rasterBytes += raster.bits.length;
  for (const [old, kept] of rasters) {
    if (rasterBytes <= CACHE_BYTES || old === shape) break;
    rasters.delete(old);
    rasterBytes -= kept.bits.length;
  }
};
export const rasterOf = (shape) => {
  let raster = rasters.get(shape);
  if (!raster) {
    raster = rasterOfRuns(runsOf(shape.counts), shape.size[0]) || {x: 0, y: 0, w: 0, h: 0, bits: new Uint8Array(0)};
    keepRaster(shape, raster);
  }
  return raster;
};

// An edit by a person makes a suggestion their own.
export const accepted = (shape) => {
  const {score, derived, ...rest} = shape;  // eslint-disable-line no-unused-vars
  return {...rest, state: 'truth'};
};
export const withClass = (shape, cls) => (shape.cls === cls && shape.state === 'truth' ? shape : {...accepted(shape), cls});
export const withBox = (shape, box) => ({...accepted(shape), box: box.map(rounded)});
export const withRings = (shape, rings, holes = shape.holes) => {
  const outer = rings.map((ring) => ring.map(rounded));
  return {...accepted(shape), rings: outer, holes: holes.map((ring) => ring.map(rounded)), box: boxOfRings(outer)};
};
export const copied = (shape) => ({...shape, id: newId()});

export const moved = (shape, dx, dy, size) => {
  if (shape.kind === 'mask') return movedMask(shape, Math.round(dx), Math.round(dy), size);
  const [sx, sy] = shiftWithin(shape.box, dx, dy, size), box = shape.box.map((value, i) => rounded(value + (i % 2 ? sy : sx)));
  if (shape.kind === 'box') return {...accepted(shape), box};
  return {...accepted(shape), box, rings: shape.rings.map((ring) => shifted(ring, sx, sy)), holes: shape.holes.map((ring) => shifted(ring, sx, sy))};
};
const movedMask = (shape, dx, dy, size) => {
  const [sx, sy] = shiftWithin(shape.box, dx, dy, size), raster = rasterOf(shape);
  const made = makeMask(shape.cls, {...raster, x: raster.x + sx, y: raster.y + sy}, size, shape.id);
  return made ? {...accepted(shape), ...made} : shape;
};

// Is the point on the shape? `slack` in pixels of the image, for thin ones.
export const hits = (shape, point, slack) => {
  if (!pointInBox(point, shape.box, slack)) return false;
  if (shape.kind === 'box') return true;
  if (shape.kind === 'mask') return bitAt(rasterOf(shape), point) === 1;
  const rings = [...shape.rings, ...shape.holes];
  return rings.reduce((odd, ring) => odd !== pointInRing(point, ring), false) || rings.some((ring) => nearestSide(point, ring).distance <= slack);
};
export const areaOf = (shape) => {
  if (shape.kind === 'box') return (shape.box[2] - shape.box[0]) * (shape.box[3] - shape.box[1]);
  if (shape.kind === 'mask') return countBits(rasterOf(shape));
  return shape.rings.reduce((sum, ring) => sum + ringArea(ring), 0) - shape.holes.reduce((sum, ring) => sum + ringArea(ring), 0);
};
// The one that a person means: a selected one, else the smallest under the pointer; areas of boxes will do for that.
export const pick = (shapes, point, slack, wanted = () => true, favoured = () => false) => {
  let best = null, least = Infinity;
  for (const shape of shapes) {
    if (!wanted(shape) || !hits(shape, point, slack)) continue;
    const area = (shape.box[2] - shape.box[0]) * (shape.box[3] - shape.box[1]) * (favoured(shape) ? 1e-9 : 1);
    if (area <= least) { best = shape; least = area; }
  }
  return best;
};

export const fromWire = (sent) => ({holes: [], rings: [], ...sent, id: newId(), state: sent.state || 'truth'});
export const toWire = (shape) => {
  const wire = {kind: shape.kind, cls: shape.cls, box: shape.box};
  if (shape.kind === 'polygon') Object.assign(wire, {rings: shape.rings, holes: shape.holes});
  if (shape.kind === 'mask') Object.assign(wire, {size: shape.size, counts: shape.counts});
  if (shape.state === 'suggested') Object.assign(wire, {state: 'suggested', score: shape.score});
  if (shape.crowd) wire.crowd = true;
  if (shape.derived) wire.derived = true;
  return wire;
};
const key = (wire) => JSON.stringify(wire, (name, value) => (typeof value === 'number' ? Math.round(value * 10) / 10 : value));
// Theirs, and of mine what neither they have nor the common beginning had.
export const bothOf = (base, mine, theirs) => {
  const known = new Set([...base, ...theirs].map((shape) => key(toWire(shape))));
  return [...theirs, ...mine.filter((shape) => !known.has(key(toWire(shape)))).map(copied)];
};
export const sameDocument = (a, b) => {
  const text = (doc) => JSON.stringify([doc.looked, doc.tags, doc.shapes.map((shape) => key(toWire(shape))).sort()]);
  return text(a) === text(b);
};
