// Painting masks. The stroke is shown as a thick line; its pixels are made when the pointer is lifted.
import {inside} from './geometry.js';
import {colourOf} from './draw.js';
import {combine, emptyRaster, grown, stroke, strokeBox} from './runs.js';
import {accepted, hits, makeMask, rasterOf} from './shapes.js';

export const RADIUS = {smallest: 0.5, largest: 400};

export const brushTool = (studio, erase = false) => {
  let path = [], radius = 1, at = null;
  const mark = (raster, bit) => path.forEach((point, i) => stroke(raster, path[Math.max(0, i - 1)], point, radius, bit));
  const touchedBox = () => path.reduce((box, point, i) => {
    const next = strokeBox(path[Math.max(0, i - 1)], point, radius, studio.size);
    return box ? [Math.min(box[0], next[0]), Math.min(box[1], next[1]), Math.max(box[2], next[2]), Math.max(box[3], next[3])] : next;
  }, null);
  return {
    name: erase ? 'eraser' : 'brush', cursor: 'none', draws: true,
    down(point) { radius = studio.radius; path = [point]; },
    move(point) { at = point; if (path.length) path.push(point); },
    up() {
      const box = path.length && touchedBox();
      if (box && box[2] > box[0] && box[3] > box[1]) {
        const painted = emptyRaster(box);
        mark(painted, 1);
        if (erase) studio.eraseArea(painted); else studio.paintArea(painted);
      }
      path = [];
    },
    busy: () => path.length > 0,
    cancel() { path = []; },
    draw(g, view) {
      if (path.length) {
        g.lineWidth = radius * 2 * view.scale;
        g.lineCap = g.lineJoin = 'round';
        g.globalAlpha = erase ? 0.35 : Math.max(0.35, studio.opacity);
        g.strokeStyle = erase ? '#FFFFFF' : colourOf(studio, studio.cls);
        g.beginPath();
        path.forEach((point, i) => (i ? g.lineTo(...view.toScreen(point)) : g.moveTo(...view.toScreen(point))));
        if (path.length === 1) g.lineTo(...view.toScreen([path[0][0] + 1e-3, path[0][1]]));
        g.stroke();
        g.globalAlpha = 1;
      }
      if (!at) return;
      const [x, y] = view.toScreen(at), size = Math.max(1.5, (path.length ? radius : studio.radius) * view.scale);
      for (const [colour, width] of [['#0A0E12', 3], [erase ? '#FFFFFF' : colourOf(studio, studio.cls), 1.5]]) {
        g.beginPath();
        g.arc(x, y, size, 0, 2 * Math.PI);
        g.lineWidth = width;
        g.strokeStyle = colour;
        g.stroke();
      }
    },
    leave() { at = null; },
  };
};

export const boxOf = (raster) => [raster.x, raster.y, raster.x + raster.w, raster.y + raster.h];
export const united = (shape, area, size) => {
  const raster = grown(rasterOf(shape), boxOf(area));
  combine(raster, area, 1);
  return {...accepted(shape), ...makeMask(shape.cls, raster, size, shape.id)};
};
// The shape without the area; null when nothing of it is left, the shape itself when it is not touched.
export const without = (shape, area, size) => {
  const old = rasterOf(shape);
  if (area.x >= old.x + old.w || area.y >= old.y + old.h || area.x + area.w <= old.x || area.y + area.h <= old.y) return shape;
  const raster = {...old, bits: old.bits.slice()};
  combine(raster, area, 0);
  if (raster.bits.every((bit, i) => bit === old.bits[i])) return shape;
  const made = makeMask(shape.cls, raster, size, shape.id);
  return made && {...accepted(shape), ...made};
};
// `area` is painted with class `cls`: into `target`, else as a new mask. Where pixels have one class only, the others give way; suggestions do not.
export const painted = (shapes, area, {cls, target, size, exclusive, locked}) => {
  let free = area;
  if (exclusive) {
    for (const other of shapes) if (other.kind === 'mask' && other.cls !== cls && other.state !== 'suggested' && locked(other)) { free = {...free, bits: free.bits.slice()}; combine(free, rasterOf(other), 0); }
  }
  const made = target ? united(target, free, size) : makeMask(cls, free, size);
  if (!made) return shapes;
  const rest = exclusive ? shapes.map((shape) => (shape.kind !== 'mask' || shape.cls === cls || shape.state === 'suggested' || locked(shape) ? shape : without(shape, free, size))) : shapes;
  const kept = rest.filter(Boolean);
  return target ? kept.map((shape) => (shape.id === target.id ? made : shape)) : [...kept, made];
};
export const erased = (shapes, area, wanted, size) => shapes.map((shape) => (shape.kind === 'mask' && wanted(shape) ? without(shape, area, size) : shape)).filter(Boolean);
export const maskUnder = (shapes, point) => shapes.findLast((shape) => shape.kind === 'mask' && hits(shape, inside(point, [1e9, 1e9]), 0)) ?? null;
