// Pointing at an object: the server finds its outline from points or a box; it stays a preview until a person takes it.
import {polygonOf} from './areas.js';
import {boxBetween, inside} from './geometry.js';
import {colourOf, knob} from './draw.js';
import {rasterOf} from './shapes.js';

const DRAG = 6;  // CSS pixels from which on a click is a box

// find({inside, outside, box, window}) -> Promise of a mask shape or null.
export const pointsTool = (studio, find) => {
  let points = [], box = null, from = null, to = null, preview = null, turn = 0, waiting = false;
  const clear = () => { points = []; box = null; from = null; preview = null; waiting = false; turn += 1; studio.painter?.request(); studio.asked?.(false); };
  const ask = async () => {
    turn += 1;
    const mine = turn, {view, size} = studio, [x1, y1] = inside(view.toImage([0, 0]), size), [x2, y2] = inside(view.toImage([view.width, view.height]), size);
    const side = (wanted) => points.filter(({belongs}) => belongs === wanted).map(({at}) => at);
    if (!box && !side(true).length) { preview = null; return; }
    waiting = true;
    studio.asked?.(true);
    const found = await find({inside: side(true), outside: side(false), box, window: [x1, y1, x2, y2]});
    if (mine !== turn) return;
    waiting = false;
    preview = found && {...found, cls: studio.cls, state: 'suggested'};
    if (!found) studio.say('nothingFound');
    studio.painter.request();
  };
  return {
    name: 'points', cursor: 'crosshair', draws: true,
    down(point, event) { from = to = inside(point, studio.size); this.minus = studio.minus !== (event.shiftKey || event.altKey); },
    move(point) { if (from) to = inside(point, studio.size); },
    up() {
      if (!from) return;
      const far = Math.hypot(to[0] - from[0], to[1] - from[1]) * studio.view.scale > DRAG;
      if (far) { box = boxBetween(from, to); points = []; } else points = [...points, {at: from, belongs: !this.minus}];
      from = null;
      ask();
    },
    busy: () => from !== null || points.length > 0 || box !== null,
    shown: () => preview !== null,
    again() { if (points.length || box) ask(); },
    cancel() { clear(); },
    undo() {
      if (!points.length && !box) return false;
      if (points.length) points = points.slice(0, -1); else box = null;
      if (points.length || box) ask(); else clear();
      return true;
    },
    enter() {
      const found = preview;
      if (!found) return false;
      clear();
      if (studio.isPixels()) studio.paintArea(rasterOf(found));
      else studio.add({...(studio.masksOnly ? {...found, state: 'truth'} : polygonOf(found)), cls: studio.cls});
      return true;
    },
    draw(g, view) {
      if (preview) {
        studio.painter.mask(g, view, {...preview, state: 'truth'});
        const line = new Path2D(), {scale, x, y} = view;
        preview.rings ??= polygonOf(preview).rings;
        for (const ring of preview.rings) {
          for (let i = 0; i < ring.length; i += 2) if (i) line.lineTo(x + ring[i] * scale, y + ring[i + 1] * scale); else line.moveTo(x + ring[i] * scale, y + ring[i + 1] * scale);
          line.closePath();
        }
        studio.painter.strokePath(g, line, {cls: studio.cls, state: 'suggested'}, 0, 2);
      }
      const frame = from && to && Math.hypot(to[0] - from[0], to[1] - from[1]) * view.scale > DRAG ? boxBetween(from, to) : box;
      if (frame) {
        const [x1, y1] = view.toScreen(frame), [x2, y2] = view.toScreen([frame[2], frame[3]]);
        g.setLineDash([4, 3]);
        g.lineWidth = 1;
        g.strokeStyle = '#FFFFFF';
        g.strokeRect(x1, y1, x2 - x1, y2 - y1);
        g.setLineDash([]);
      }
      for (const {at, belongs} of points) {
        const place = view.toScreen(at);
        knob(g, place, belongs ? colourOf(studio, studio.cls) : '#0A0E12', true, true);
        g.fillStyle = '#FFFFFF';
        g.fillRect(place[0] - 2, place[1] - 0.5, 4, 1);
        if (belongs) g.fillRect(place[0] - 0.5, place[1] - 2, 1, 4);
      }
      if (waiting && points.length) { g.fillStyle = '#FFFFFF'; g.font = '12px system-ui, sans-serif'; g.fillText('…', view.toScreen(points.at(-1).at)[0] + 10, view.toScreen(points.at(-1).at)[1] - 8); }
    },
  };
};

// What the tool asks the server for, and the words and buttons over the canvas meanwhile.
export const finder = (lab) => {
  const {studio, text} = lab, click = (action) => () => { lab.act(action); lab.act('focus'); };
  let own = false;  // the message over the canvas is of this tool
  studio.asked = (on) => {
    if (!on) {
      if (own) lab.quiet();
      own = studio.minus = false;
      return;
    }
    own = true;
    lab.notice(text(studio.minus ? 'pointOut' : 'pointIn'), [[text(studio.minus ? 'pointMore' : 'pointLess'), () => { studio.minus = !studio.minus; studio.asked(true); }],
      [text('take'), click('finish')], [text('discardIt'), click('cancel')]], true);
  };
  return async (wanted) => {
    const {image} = lab, {model} = lab.pointers;
    if (model) lab.hint(text('pointer.looking'));
    const answer = await lab.call('segment', {image, model, ...wanted}).catch(() => ({error: {message: text('offline')}}));
    if (answer.error) lab.hint(`${answer.error.message} ${answer.error.remedy ?? ''}`.trim()); else if (model && lab.hintText === text('pointer.looking')) lab.hint('');
    return image === lab.image && answer.mask ? {kind: 'mask', id: 0, holes: [], rings: [], ...answer.mask} : null;
  };
};
