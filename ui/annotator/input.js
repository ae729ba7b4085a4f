// Pointers and the wheel: one finger, pen or button works with the tool; two fingers, the middle button or Space move the view.
import {actionOf, isTyping} from './keys.js';

export const listen = (stage, studio, act) => {
  const {view} = studio, fingers = new Map();
  let mode = null, last = null, space = false, spaceUsed = false;
  const screen = (event) => { const frame = stage.getBoundingClientRect(); return [event.clientX - frame.left, event.clientY - frame.top]; };
  const redraw = () => { studio.painter.request(); act('viewed'); };

  stage.addEventListener('pointerdown', (event) => {
    if (event.target.closest('.lb-an-notice')) return;
    stage.focus({preventScroll: true});
    const at = screen(event);
    if (event.pointerType === 'touch') {
      fingers.set(event.pointerId, at);
      if (fingers.size === 2) { studio.tool.cancel(); mode = 'pinch'; }
      if (fingers.size > 2) return;
    }
    try { stage.setPointerCapture(event.pointerId); } catch { /* the pointer is gone already */ }
    if (mode === 'pinch') { redraw(); return; }
    if (event.button === 1 || event.button === 2 || space) { mode = 'pan'; last = at; spaceUsed = space; event.preventDefault(); return; }
    if (event.button !== 0 || !studio.painter.picture) return;
    mode = 'tool';
    studio.tool.move?.(view.toImage(at), event);
    studio.tool.down(view.toImage(at), event);
    redraw();
  });
  stage.addEventListener('pointermove', (event) => {
    const at = screen(event);
    studio.pointer = at;
    if (mode === 'pinch' && fingers.has(event.pointerId)) {
      const from = [...fingers.values()].slice(0, 2);
      fingers.set(event.pointerId, at);
      view.pinch(from, [...fingers.values()].slice(0, 2));
    } else if (mode === 'pan') {
      view.pan(at[0] - last[0], at[1] - last[1]);
      last = at;
    } else if (studio.tool && mode !== 'pinch') {
      const steps = mode === 'tool' ? event.getCoalescedEvents?.() ?? [] : [];
      for (const each of steps.length ? steps : [event]) studio.tool.move?.(view.toImage(screen(each)), event);
    }
    stage.style.cursor = mode === 'pan' ? 'grabbing' : space ? 'grab' : studio.tool?.cursor ?? 'default';
    redraw();
  });
  const lift = (event, done) => {
    fingers.delete(event.pointerId);
    if (mode === 'tool') { if (done) studio.tool.up(view.toImage(screen(event)), event); else studio.tool.cancel(); }
    if (mode !== 'pinch' || fingers.size === 0) mode = null;
    redraw();
  };
  stage.addEventListener('pointerup', (event) => lift(event, true));
  stage.addEventListener('pointercancel', (event) => lift(event, false));
  stage.addEventListener('pointerleave', () => { studio.pointer = null; studio.tool?.leave?.(); redraw(); });
  stage.addEventListener('contextmenu', (event) => event.preventDefault());
  stage.addEventListener('dblclick', (event) => { if (studio.tool.double?.(view.toImage(screen(event)))) redraw(); });
  stage.addEventListener('wheel', (event) => {
    event.preventDefault();
    const step = event.deltaY * (event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 120 : 1);
    if (event.shiftKey && !event.ctrlKey) view.pan(-(event.deltaX || step), 0);
    else view.zoom(Math.exp(-Math.max(-240, Math.min(240, step)) * (event.ctrlKey ? 0.01 : 0.0018)), screen(event));
    redraw();
  }, {passive: false});

  const keydown = (event) => {
    if (isTyping(event.target)) return;
    if (event.key === ' ') {  // Space with a drag moves the view; alone it accepts
      if (!event.repeat) { space = true; spaceUsed = false; stage.style.cursor = 'grab'; }
      event.preventDefault();
      return;
    }
    const wish = actionOf(event);
    if (!wish || (event.key === 'Enter' && event.target.tagName === 'BUTTON')) return;
    if (act(wish.action, wish.value) !== false) event.preventDefault();
  };
  const keyup = (event) => {
    if (event.key !== ' ' || !space) return;
    space = false;
    stage.style.cursor = studio.tool?.cursor ?? 'default';
    if (!spaceUsed && !isTyping(event.target)) { event.preventDefault(); act('accept'); }
  };
  return {keydown, keyup};
};
