// Drawing polygons click by click, and editing the vertices of one that is chosen. Clicks always draw, also on other shapes.
import {distance, inside, nearestSide, nearestVertex, vertexMoved, withVertex, withoutVertex} from './geometry.js';
import {colourOf, knob} from './draw.js';
import {makePolygon, withRings} from './shapes.js';

const CLOSE = {mouse: 9, pen: 12, touch: 20};

// `goal` says what becomes of the outline: a new shape, or a hole in the chosen one.
export const polygonTool = (studio, goal = 'shape') => {
  let points = [], at = null, held = false, shut = false;
  const closes = (point, event) => points.length > 2 && distance(point, points[0]) * studio.view.scale <= (CLOSE[event?.pointerType] ?? CLOSE.mouse);
  const finish = () => {
    const ring = points.flat();
    points = [];
    held = false;
    if (ring.length < 6) return false;
    if (goal === 'hole') studio.addHole(ring); else studio.add(makePolygon(studio.cls, [ring]));
    return true;
  };
  return {
    name: goal === 'hole' ? 'hole' : 'polygon', cursor: 'crosshair', draws: true, outlines: true,
    down(point, event) {
      const where = inside(point, studio.size);
      shut = closes(where, event);
      if (shut) return;
      points.push(where);
      held = true;
    },
    move(point) {
      at = inside(point, studio.size);
      if (held) points[points.length - 1] = at;  // until the button is let go the vertex follows the pointer
    },
    up() { held = false; if (shut) { shut = false; finish(); } },
    double() {
      const last = points.length - 1;
      if (last > 0 && distance(points[last], points[last - 1]) * studio.view.scale < 5) points.pop();  // the second click of the pair
      return points.length > 2 && finish();
    },
    busy: () => points.length > 0,
    cancel() { points = []; held = false; shut = false; },
    enter: () => finish(),
    undo() { if (!points.length) return false; points.pop(); return true; },
    draw(g, view) {
      if (!points.length) return;
      const line = new Path2D(), shown = points.map((point) => view.toScreen(point));
      shown.forEach(([x, y], i) => (i ? line.lineTo(x, y) : line.moveTo(x, y)));
      if (at && !held) line.lineTo(...view.toScreen(at));
      studio.painter.strokePath(g, line, {cls: studio.cls, state: 'truth'}, points.length > 1 ? 0.15 : 0);
      const ready = points.length > 2 && at && closes(at);
      shown.forEach((point, i) => knob(g, point, colourOf(studio, studio.cls), true, i === 0 && ready));
    },
  };
};

// For the select tool: vertices of the chosen polygon move, its sides take new ones.
export const vertexEditing = (studio) => {
  let taken = null, active = null;  // active: the vertex that Delete removes
  const parts = (shape) => (shape?.kind === 'polygon' ? [...shape.rings.map((ring, i) => ['rings', i, ring]), ...shape.holes.map((ring, i) => ['holes', i, ring])] : []);
  const nearest = (point, shape, measure) => parts(shape).map(([name, index, ring]) => ({name, index, ring, ...measure(point, ring)}))
    .sort((a, b) => a.distance - b.distance)[0];
  const replaced = (shape, {name, index}, ring) => {
    const next = {rings: [...shape.rings], holes: [...shape.holes]};
    next[name][index] = ring;
    return withRings(shape, next.rings, next.holes);
  };
  return {
    down(point, event, shape, grip) {
      active = null;
      if (!shape || shape.kind !== 'polygon' || studio.isLocked(shape)) return false;
      const reach = grip / studio.view.scale, vertex = nearest(point, shape, nearestVertex);
      if (vertex.distance <= reach) {
        active = {id: shape.id, ...vertex};
        if (event.altKey) { this.remove(shape); return true; }
        taken = {shape, part: vertex, ring: vertex.ring, at: vertex.at, moved: false};
        return true;
      }
      const side = nearest(point, shape, nearestSide);
      if (side.distance > reach * 0.7) return false;
      const ring = withVertex(side.ring, side.at + 1, side.point);
      taken = {shape, part: side, ring, at: side.at + 1, moved: true};
      active = {id: shape.id, name: side.name, index: side.index, at: side.at + 1};
      studio.ghost([replaced(shape, side, ring)]);
      return true;
    },
    move(point) {
      if (!taken) return;
      taken.moved = true;
      studio.ghost([replaced(taken.shape, taken.part, vertexMoved(taken.ring, taken.at, inside(point, studio.size)))]);
    },
    up() { if (taken?.moved) studio.keepGhosts(); taken = null; },
    cancel() { taken = null; active = null; },
    double(point, shape) {  // twice on a vertex takes it away
      const vertex = shape && nearest(point, shape, nearestVertex);
      if (!vertex || vertex.distance * studio.view.scale > 8) return false;
      active = {id: shape.id, ...vertex};
      return this.remove(shape);
    },
    // Removes the vertex that was touched last. False: there is none, so the whole shape may go.
    remove(shape) {
      if (!active || active.id !== shape?.id) return false;
      const ring = shape[active.name][active.index], part = active;
      active = null;
      if (!ring || part.at * 2 >= ring.length) return false;
      if (ring.length > 6) studio.replace([replaced(shape, part, withoutVertex(ring, part.at))]);
      else if (part.name === 'holes') studio.replace([withRings(shape, shape.rings, shape.holes.filter((each) => each !== ring))]);
      return true;
    },
    cursor(point, shape) {
      const near = shape && nearest(point, shape, nearestSide);
      return near && near.distance * studio.view.scale <= 8 ? 'pointer' : 'default';
    },
    draw(g, view, shape) {
      for (const [name, index, ring] of parts(shape)) {
        if (ring.length > 4000) continue;  // too many to take one by hand
        for (let i = 0; i < ring.length; i += 2) {
          const on = active && active.id === shape.id && active.name === name && active.index === index && active.at === i / 2;
          knob(g, view.toScreen([ring[i], ring[i + 1]]), colourOf(studio, shape.cls), true, on);
        }
      }
    },
  };
};
