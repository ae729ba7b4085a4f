// Keys as people know them. One table: what a key does, and the line about it in the list that `?` opens.
export const KEYS = [
  ['work', 'd', 'next'], ['work', 'a', 'previous'], ['work', 'ctrl+shift+d', 'nextOpen'], ['work', ' ', 'accept'], ['work', 'n', 'nothing'],
  ['work', 'e', 'nextHint'], ['work', 'i', 'look'], ['work', '.', 'nextSuspect'],
  ['work', 'y', 'checked'], ['work', 's', 'skip'], ['work', 'ctrl+p', 'copyPrevious'],
  ['tools', 'v', 'select'], ['tools', 'r', 'box'], ['tools', 'b', 'box'], ['tools', 'p', 'polygon'], ['tools', 'm', 'brush'], ['tools', 'x', 'eraser'], ['tools', 'f', 'fill'],
  ['tools', 'q', 'points'],
  ['tools', '[', 'smaller'], ['tools', ']', 'larger'], ['tools', 'Enter', 'finish'], ['tools', 'Escape', 'cancel'],
  ['edit', '1-9', 'class'], ['edit', 'c', 'pickClass'], ['edit', 'Delete', 'remove'], ['edit', 'Backspace', 'remove'], ['edit', 'ctrl+z', 'undo'],
  ['edit', 'ctrl+y', 'redo'], ['edit', 'ctrl+shift+z', 'redo'], ['edit', 'ctrl+a', 'selectAll'], ['edit', 'ctrl+d', 'duplicate'],
  ['edit', 'o', 'hole'], ['edit', 'j', 'join'], ['edit', 'k', 'split'], ['edit', 'u', 'simplify'], ['edit', 'w', 'convert'],
  ['edit', 'arrows', 'nudge'],
  ['view', '+', 'zoomIn'], ['view', '-', 'zoomOut'], ['view', 'z', 'fit'], ['view', 'h', 'hide'], ['view', 'l', 'lock'], ['view', 't', 'crosshair'],
  ['view', 'g', 'names'], ['view', '?', 'help'],
];
const ARROWS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};

// {action, value} that a key press asks for, or null.
export const actionOf = (event) => {
  const ctrl = event.ctrlKey || event.metaKey;
  if (event.altKey) return null;
  if (!ctrl && /^[0-9]$/.test(event.key)) return {action: 'class', value: event.key === '0' ? 9 : Number(event.key) - 1};
  if (!ctrl && ARROWS[event.key]) return {action: 'nudge', value: ARROWS[event.key].map((step) => step * (event.shiftKey ? 10 : 1))};
  if (!ctrl && event.key === '=') return {action: 'zoomIn'};
  const shift = event.shiftKey && (ctrl || event.key.length > 1);
  const name = `${ctrl ? 'ctrl+' : ''}${shift && ctrl ? 'shift+' : ''}${event.key.length === 1 ? event.key.toLowerCase() : event.key}`;
  const found = KEYS.find(([, key]) => key === name);
  return found && !['1-9', 'arrows'].includes(found[1]) ? {action: found[2]} : null;
};
// Someone who writes into a field means letters.
export const isTyping = (target) => target?.matches?.('input:not([type=range]):not([type=checkbox]), textarea, select, [contenteditable=true]') ?? false;
export const keyName = (key) => ({' ': 'Space', '1-9': '1 … 9', arrows: '← ↑ → ↓', Escape: 'Esc'}[key] ?? key.split('+').filter(Boolean)
  .map((part) => (part.length > 1 ? part[0].toUpperCase() + part.slice(1) : part.toUpperCase())).join(' + ') ?? key) || key;
