// Strokes and areas that become labels: what a brush, a fill or an accepted area does to the shapes of an image.
import {meets, polygonOf, rasterFrom} from './areas.js';
import {combine, grown} from './runs.js';
import {makeMask, rasterOf} from './shapes.js';
import {boxOf, erased, painted} from './tools_brush.js';
import {closed} from './tools_fill.js';

const same = (next, before) => next.length === before.length && next.every((shape, i) => shape === before[i]);
// A class of this name is what is left where no other one is; it has no pixels of its own.
export const isGround = ({classes, kind}, cls) => kind !== 'objects' && classes[cls]?.name.trim().toLowerCase() === 'background';
// The shapes with an area painted over them; background takes the others away.
const laidOver = (studio, shapes, area, {cls, target}) => {
  const locked = (shape) => studio.isLocked(shape);
  if (isGround(studio, cls)) return erased(shapes, area, (shape) => shape.state !== 'suggested' && !locked(shape), studio.size);
  return painted(shapes, area, {cls, target, size: studio.size, exclusive: studio.kind === 'mask', locked});
};
export const paintOn = (studio, area) => {
  const {shapes} = studio.doc, target = studio.paintTarget(), cls = target?.cls ?? studio.cls, fresh = !target && !studio.isPixels();
  if (target && studio.isLocked(target)) { studio.say('locked'); return; }
  if (studio.brushPolygon && !studio.isPixels()) { paintPolygon(studio, area, target); return; }
  const next = laidOver(studio, shapes, area, {cls, target});
  if (same(next, shapes)) { if (isGround(studio, cls)) studio.say('background'); return; }
  if (fresh) studio.target = next.at(-1).id;  // the next stroke goes on with this one
  studio.commit({shapes: next});
  tellStroke(studio, fresh);
};
// A stroke as a polygon: what it surrounds belongs to it, and it goes on with the polygon before.
const paintPolygon = (studio, area, target) => {
  let whole = area;
  if (target) {
    whole = grown(rasterFrom(target, studio.size), boxOf(area));
    combine(whole, area, 1);
  }
  const {shapes} = studio.doc, mask = makeMask(target?.cls ?? studio.cls, closed(whole), studio.size), made = mask && {...polygonOf(mask), id: target?.id ?? mask.id};
  if (!made) return;
  if (!target) studio.target = made.id;
  studio.commit({shapes: target ? shapes.map((shape) => (shape.id === made.id ? made : shape)) : [...shapes, made]});
  tellStroke(studio, !target);
};
// Once a visit: that strokes go on with one object, and how another one begins.
const tellStroke = (studio, fresh) => {
  if (!fresh || studio.strokeTold || studio.tool?.name !== 'brush') return;
  studio.strokeTold = true;
  studio.say('strokeGoesOn');
};
export const eraseOn = (studio, area) => {
  const {shapes} = studio.doc, wanted = (shape) => !studio.isLocked(shape) && !studio.hiddenClasses.has(shape.cls) && (!studio.selection.size || studio.selection.has(shape.id));
  const next = erased(shapes, area, wanted, studio.size);
  if (!same(next, shapes)) studio.commit({shapes: next});
  else if (shapes.some((shape) => shape.kind !== 'mask' && wanted(shape) && meets(shape, area, studio.size))) studio.say('eraseMask');
};
// A shape gets another class; what is background now is gone.
export const repaint = (studio, shape, cls) => {
  const rest = studio.doc.shapes.filter((each) => each.id !== shape.id), target = rest.find((each) => each.cls === cls && each.kind === 'mask');
  studio.commit({shapes: isGround(studio, cls) ? rest : painted(rest, rasterOf(shape), {cls, target, size: studio.size, exclusive: studio.kind === 'mask', locked: () => false})});
};
// Where pixels have classes, a suggestion is painted over what is there.
export const acceptAreas = (studio, chosen) => {
  const gone = new Set(chosen.map((shape) => shape.id));
  let rest = studio.doc.shapes.filter((shape) => !gone.has(shape.id));
  for (const shape of chosen) {
    const {cls} = shape, target = rest.find((each) => each.kind === 'mask' && each.cls === cls && each.state !== 'suggested');
    rest = laidOver(studio, rest, rasterOf(shape), {cls, target});
  }
  studio.commit({shapes: rest});
};
