// What stands beside the canvas and follows it: pressed buttons, the state of the image, where the pointer is.
import {stateOf} from './documents.js';

export const showAside = (lab) => {
  const {studio, part} = lab, state = lab.outbox.refused.has(lab.image) ? lab.facts.state : stateOf(studio.doc), pressed = (name, on) => part.root.querySelector(`[data-do=${name}]`)?.setAttribute('aria-pressed', String(on));
  lab.panel.update();
  lab.assist.update();
  lab.pointers.show(studio.tool.name === 'points');
  part.chip.textContent = lab.text(`state.${state}`);
  part.chip.className = `lb-an-chip lb-an-chip-${state}`;
  for (const button of part.rail.querySelectorAll('[data-tool]')) {
    button.setAttribute('aria-pressed', String(button.dataset.tool === studio.tool.name));
    button.hidden = studio.kind === 'tags' && button.dataset.tool !== 'select';
  }
  pressed('checked', studio.doc.mark === 'checked');
  pressed('skip', studio.doc.mark === 'skipped');
  pressed('hide', studio.bare);
  part.undo.disabled = !studio.history.past.length && !studio.tool.busy?.();
  part.redo.disabled = !studio.history.future.length;
};
export const showPlace = (lab) => {
  const {studio, part} = lab, at = studio.pointer && studio.view.toImage(studio.pointer), [width, height] = studio.size;
  const there = at && at[0] >= 0 && at[1] >= 0 && at[0] <= width && at[1] <= height;
  part.where.textContent = `${there ? `${Math.floor(at[0])}, ${Math.floor(at[1])} · ` : ''}${width} × ${height} · ${Math.round(studio.view.scale * 100)}%`;
  part.undo.disabled = !studio.history.past.length && !studio.tool?.busy?.();
};
