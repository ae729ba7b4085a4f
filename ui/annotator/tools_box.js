// Choosing, moving and resizing shapes, and drawing boxes. A tool gets points of the image and tells the studio what it makes of them.
import {HANDLES, boxBetween, boxInBox, distance, handlePoint, inside, resized} from './geometry.js';
import {colourOf, inSight, knob} from './draw.js';
import {makeBox, moved, pick, withBox} from './shapes.js';
import {vertexEditing} from './tools_polygon.js';

export const GRIP = {mouse: 8, pen: 10, touch: 18};  // CSS pixels around a handle that still take it
const SMALLEST = 3;

export const selectTool = (studio) => {
  const vertices = vertexEditing(studio);
  let drag = null;
  const single = () => (studio.selection.size === 1 ? studio.selected()[0] : null);
  const handleAt = (point, grip) => {
    const shape = single();
    if (!shape || shape.kind !== 'box' || studio.isLocked(shape)) return null;
    const names = Object.keys(HANDLES).sort((a, b) => b.length - a.length);  // corners first: they win on small boxes
    return names.map((name) => ({name, far: distance(point, handlePoint(shape.box, name)) * studio.view.scale}))
      .filter(({far}) => far <= grip).sort((a, b) => a.far - b.far)[0]?.name ?? null;
  };
  return {
    name: 'select',
    down(point, event) {
      const grip = GRIP[event.pointerType] ?? GRIP.mouse, handle = handleAt(point, grip);
      if (handle) { drag = {what: 'resize', handle, shape: single(), from: point}; return; }
      if (vertices.down(point, event, single(), grip)) { drag = {what: 'vertex'}; return; }
      const found = pick(studio.shown(), point, 3 / studio.view.scale, (shape) => !studio.isLocked(shape), (shape) => studio.selection.has(shape.id));
      if (!found) {
        drag = event.pointerType === 'touch' ? {what: 'pan', from: [event.clientX, event.clientY]} : {what: 'marquee', from: point, to: point, add: event.shiftKey};
        if (!event.shiftKey) studio.select([]);
        return;
      }
      if (event.shiftKey) { studio.select([found.id], 'toggle'); return; }
      if (!studio.selection.has(found.id)) studio.select([found.id]);
      drag = {what: 'move', from: point, shapes: studio.selected().filter((shape) => !studio.isLocked(shape)), far: false};
    },
    move(point, event) {
      if (!drag) { this.cursor = handleAt(point, GRIP.mouse) ? `${handleAt(point, GRIP.mouse)}-resize` : vertices.cursor(point, single()); return; }
      if (drag.what === 'vertex') vertices.move(point);
      if (drag.what === 'pan') { studio.view.pan(event.clientX - drag.from[0], event.clientY - drag.from[1]); drag.from = [event.clientX, event.clientY]; }
      if (drag.what === 'marquee') drag.to = point;
      if (drag.what === 'resize') {
        const box = resized(drag.shape.box, drag.handle, inside(point, studio.size));
        if (box[2] > box[0] && box[3] > box[1]) studio.ghost([withBox(drag.shape, box)]);
      }
      if (drag.what === 'move') {
        drag.far ||= distance(point, drag.from) * studio.view.scale > 3;
        if (drag.far) studio.ghost(drag.shapes.map((shape) => moved(shape, point[0] - drag.from[0], point[1] - drag.from[1], studio.size)));
      }
    },
    up(point) {
      if (drag?.what === 'vertex') vertices.up();
      if (drag?.what === 'resize' || drag?.what === 'move') studio.keepGhosts();
      if (drag?.what === 'marquee' && distance(drag.from, point) * studio.view.scale > 3) {
        const box = boxBetween(drag.from, point);
        studio.select(studio.shown().filter((shape) => !studio.isLocked(shape) && boxInBox(shape.box, box)).map((shape) => shape.id), drag.add ? 'add' : 'set');
      }
      drag = null;
    },
    cancel() { drag = null; vertices.cancel(); studio.ghost([]); },
    double(point) { return vertices.double(point, single()); },
    remove() { return vertices.remove(single()); },
    draw(g, view) {
      if (drag?.what === 'marquee') {
        const [x1, y1] = view.toScreen(drag.from), [x2, y2] = view.toScreen(drag.to);
        g.setLineDash([4, 3]);
        g.lineWidth = 1;
        g.strokeStyle = '#FFFFFF';
        g.strokeRect(x1, y1, x2 - x1, y2 - y1);
        g.setLineDash([]);
      }
      const shape = single() && (studio.ghosts.get(single().id) ?? single());
      if (!shape || studio.isLocked(shape)) return;
      if (shape.kind === 'box') for (const name of Object.keys(HANDLES)) knob(g, view.toScreen(handlePoint(shape.box, name)), colourOf(studio, shape.cls));
      else vertices.draw(g, view, shape);
    },
  };
};

export const boxTool = (studio) => {
  let from = null, to = null;
  return {
    name: 'box', cursor: 'crosshair', draws: true,
    down(point) { from = to = inside(point, studio.size); },
    move(point) { if (from) to = inside(point, studio.size); },
    up() {
      const box = from && boxBetween(from, to), {scale} = studio.view;
      if (box && Math.max(box[2] - box[0], box[3] - box[1]) * scale >= SMALLEST && box[2] - box[0] > 0.01 && box[3] - box[1] > 0.01) {
        studio.add(makeBox(studio.cls, box));
      }
      from = null;
    },
    busy: () => from !== null,
    cancel() { from = null; },
    draw(g, view) {
      if (!from) return;
      const box = boxBetween(from, to), line = new Path2D(), [x1, y1] = view.toScreen(box), [x2, y2] = view.toScreen([box[2], box[3]]);
      line.rect(x1, y1, x2 - x1, y2 - y1);
      studio.painter.strokePath(g, line, {cls: studio.cls, state: 'truth'}, 0.15);
      g.fillStyle = '#FFFFFF';
      g.font = '12px system-ui, sans-serif';
      g.textBaseline = 'top';
      if (inSight([box[2], box[3]], view)) g.fillText(`${Math.round(box[2] - box[0])} × ${Math.round(box[3] - box[1])}`, x2 + 6, y2 + 4);
    },
  };
};
