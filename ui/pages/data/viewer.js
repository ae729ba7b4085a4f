// One image large: steps with the arrow keys, highlights objects from the list, zooms, hides the labels.
const open = () => element.querySelector('.lb-viewer');
const close = () => {
  if (!open()) return;
  props.value = '';
  document.querySelector(`[data-id="${window.lightbox.opener}"] button`)?.focus();
};
const step = (button) => { if (button && !button.disabled) trigger('step', {index: Number(button.dataset.step)}); };
const light = (index, on) => {
  for (const part of element.querySelectorAll('[data-object]')) part.classList.toggle('lb-on', on && part.dataset.object === index);
};
const hover = (event, on) => {
  const part = event.target.closest?.('[data-object]');
  if (part) light(part.dataset.object, on);
};
const zoom = (event) => {  // around the point that was pressed, else around the middle
  const sheet = element.querySelector('.lb-sheet');
  if (!sheet) return;
  const well = sheet.parentElement, frame = well.getBoundingClientRect();
  const x = event?.clientX ? (event.clientX - frame.left) / frame.width : 0.5, y = event?.clientY ? (event.clientY - frame.top) / frame.height : 0.5;
  const large = sheet.classList.toggle('lb-zoomed');
  well.scrollTo(x * sheet.offsetWidth - frame.width / 2, y * sheet.offsetHeight - frame.height / 2);
  element.querySelector('[data-zoom]')?.setAttribute('aria-pressed', large);
};
const bare = () => {
  const button = element.querySelector('[data-bare]');
  if (button) trigger('step', {index: Number(button.dataset.index), id: Number(button.dataset.bare), bare: button.getAttribute('aria-pressed') !== 'true'});
};

element.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (event.target.closest('[data-close]') || event.target.classList.contains('lb-viewer')) close();
  else if (button && 'step' in button.dataset) step(button);
  else if (button && 'zoom' in button.dataset) zoom();
  else if (button && 'bare' in button.dataset) bare();
  else if (button && 'act' in button.dataset) trigger('act', {action: button.dataset.act, value: '', ids: [Number(button.dataset.id)], index: Number(button.dataset.index)});
  else if (button && 'moveGo' in button.dataset) {
    const {id, index} = button.dataset, value = button.parentElement.querySelector('[data-move]').value;
    if (value) trigger('act', {action: 'move', value, ids: [Number(id)], index: Number(index)});
  } else if (event.target.closest('.lb-sheet')) zoom(event);
});
element.addEventListener('change', (event) => {
  if (event.target.matches('[data-move]')) event.target.parentElement.querySelector('[data-move-go]').disabled = !event.target.value;
});
for (const [name, on] of [['mouseover', true], ['mouseout', false], ['focusin', true], ['focusout', false]]) {
  element.addEventListener(name, (event) => hover(event, on));
}
document.addEventListener('keydown', (event) => {
  if (!open() || event.altKey || event.ctrlKey || event.metaKey) return;
  const typing = event.target.matches?.('select, input');
  if (event.key === 'Escape') close();
  if (event.key === 'ArrowLeft' && !typing) step(element.querySelector('[data-back]'));
  if (event.key === 'ArrowRight' && !typing) step(element.querySelector('[data-next]'));
  if (event.key.toLowerCase() === 'l' && !typing) bare();
  if (event.key.toLowerCase() === 'z' && !typing) zoom();
  if (event.key === 'Tab') {
    const parts = [...element.querySelectorAll('button:not(:disabled), select, [tabindex="0"]')];
    const edge = event.shiftKey ? parts[0] : parts.at(-1);
    if (document.activeElement === edge || !element.contains(document.activeElement)) {
      event.preventDefault();
      (event.shiftKey ? parts.at(-1) : parts[0])?.focus();
    }
  }
});
watch('value', () => setTimeout(() => {
  if (!open() || element.contains(document.activeElement)) return;
  element.querySelector('[data-close]')?.focus({preventScroll: true});
}));
