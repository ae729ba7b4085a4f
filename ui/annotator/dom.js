// Small parts of the page: elements, icons, texts.
export const ICONS = {
  select: '<path d="M6 4l12 7.5-5.2 1.4L10.3 18z"/>',
  box: '<rect x="5" y="6" width="14" height="12" rx=".5"/><path d="M3.6 4.6h2.8v2.8H3.6zM17.6 16.6h2.8v2.8h-2.8z" fill="currentColor" stroke="none"/>',
  polygon: '<path d="M12 4.5 19.5 10 17 19H7L4.5 10z"/><circle cx="12" cy="4.5" r="1.6" fill="currentColor"/><circle cx="17" cy="19" r="1.6" fill="currentColor"/>',
  hole: '<path d="M12 3.5 20.5 10 17.5 20h-11L3.5 10z"/><path d="M12 9l3 2.4L14 15h-4l-1-3.6z"/>',
  brush: '<path d="M19.5 4.5 11 13M9.2 12.6c2 .3 2.6 1.5 2.6 2.7 0 2.6-3 4-7.3 3.7 1.6-1 1.5-2.2 1.9-3.6.4-1.6 1.4-2.9 2.8-2.800z"/>',
  eraser: '<path d="m8.5 18.5-4-4 9.5-9.5 5.5 5.5-8 8zM9 10l5.5 5.500M8.5 18.500H20"/>',
  fill: '<path d="M11.500 4.500 4.800 11.200a1.5 1.5 0 0 0 0 2.100l4.900 4.900a1.5 1.5 0 0 0 2.100 0l6.700-6.700zM8.500 3l3 3M19.800 15.500c1 1.500 1.200 2.200 1.200 2.800a1.500 1.500 0 0 1-3 0c0-.6.6-1.500 1.800-2.800z"/>',
  points: '<path d="M6 18 14.500 9.500M16.500 4v3M15 5.500h3M19.500 9.500v2.500M18.200 10.800h2.600M10.500 4.500v2M9.500 5.500h2"/>',
  filter: '<path d="M4.500 6h15M7.500 12h9M10.500 18h3"/>',
  paste: '<rect x="6" y="5.500" width="12" height="14" rx="1.5"/><path d="M9.500 5.500V4h5v1.500M9 11h6M9 14.500h4"/>',
  undo: '<path d="M5 9.500h9a5 5 0 0 1 0 10h-4M9 5 4.5 9.5 9 14"/>',
  redo: '<path d="M19 9.500h-9a5 5 0 0 0 0 10h4M15 5l4.5 4.500L15 14"/>',
  fit: '<path d="M4.5 9V4.500H9M15 4.500h4.500V9M19.5 15v4.500H15M9 19.500H4.500V15"/>',
  plus: '<path d="M12 5.500v13M5.5 12h13"/>',
  minus: '<path d="M5.5 12h13"/>',
  tones: '<circle cx="12" cy="12" r="7.5"/><path d="M12 4.500v15a7.5 7.5 0 0 0 0-15z" fill="currentColor" stroke="none"/>',
  help: '<circle cx="12" cy="12" r="8.5"/><path d="M9.6 9.500a2.5 2.5 0 1 1 3.6 2.300c-.8.4-1.2.9-1.2 1.700M12 16.400v.2"/>',
  eye: '<path d="M3 12c2.4-4.3 5.4-6.5 9-6.500s6.6 2.2 9 6.500c-2.4 4.3-5.4 6.5-9 6.500S5.4 16.3 3 12z"/><circle cx="12" cy="12" r="2.6"/>',
  hidden: '<path d="M3 12c2.4-4.3 5.4-6.5 9-6.500s6.6 2.2 9 6.500c-2.4 4.3-5.4 6.5-9 6.500S5.4 16.3 3 12z"/><path d="m4.5 19.5 15-15"/>',
  lock: '<rect x="6" y="11" width="12" height="8.5" rx="1.5"/><path d="M8.5 11V8a3.5 3.5 0 0 1 7 0v3"/>',
  unlocked: '<rect x="6" y="11" width="12" height="8.5" rx="1.5"/><path d="M8.5 11V7.500a3.5 3.5 0 0 1 6.8-1.2"/>',
  trash: '<path d="M5 7h14M10 7V4.500h4V7M7 7l.8 12.500h8.400L17 7M10.3 10.500v5.500M13.7 10.500v5.5"/>',
  back: '<path d="m14.5 5.5-6.5 6.5 6.5 6.5"/>',
  next: '<path d="m9.5 5.5 6.5 6.5-6.5 6.5"/>',
  check: '<path d="m5 12.5 4.5 4.500L19 7.5"/>',
  skip: '<path d="m6 6 7.5 6L6 18zM17.5 6v12"/>',
  none: '<circle cx="12" cy="12" r="7.5"/><path d="m6.7 17.3 10.6-10.6"/>',
  copy: '<rect x="8.5" y="8.5" width="11" height="11" rx="1"/><path d="M15.5 8.500v-4h-11v11h4"/>',
  close: '<path d="m6 6 12 12M18 6 6 18"/>',
  clock: '<circle cx="12" cy="12" r="8"/><path d="M12 7.500V12l3 2"/>',
};
export const iconOf = (name, size = 20) => {
  const holder = document.createElement('span');
  holder.innerHTML = `<svg class="lb-icon" width="${size}" height="${size}" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.5" `
    + `stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">${ICONS[name]}</svg>`;
  return holder.firstChild;
};
// make('button', {class: 'a', onclick}, 'text', child): texts become text nodes, so nothing that people named is ever markup.
export const make = (name, attributes = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else if (key === 'style') element.style.cssText = value;
    else element.setAttribute(key, value === true ? '' : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
};
export const iconButton = (icon, words, onclick, attributes = {}) =>
  make('button', {type: 'button', class: 'lb-an-icon', title: words, 'aria-label': words, onclick, ...attributes}, iconOf(icon));
export const swatchOf = (look) => make('i', {class: 'lb-an-swatch', style: `background:${look?.color ?? '#9AA4AE'}`, 'aria-hidden': 'true'});
export const fill = (text, values) => text.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
export const clockTime = (at = new Date()) => [at.getHours(), at.getMinutes(), at.getSeconds()].map((part) => String(part).padStart(2, '0')).join(':');
