// The grid of Browse: selects tiles, asks for the pictures that come into view, and tells the server what was pressed.
const pictures = new Map();  // image id -> {key, src}; src null: cannot be read
const picked = new Set();
const waiting = new Map();
const BATCH = 12;
let running = 0, anchor = null, set = null;

const grid = () => element.querySelector('[data-set]');
const tiles = () => [...element.querySelectorAll('[data-id]')];
const idOf = (tile) => Number(tile.dataset.id);

const paint = (tile) => {
  const known = pictures.get(idOf(tile)), image = tile.querySelector('img');
  if (!image) return;
  tile.classList.toggle('lb-tile-torn', Boolean(known) && known.src === null);
  if (known?.src) image.src = known.src; else image.removeAttribute('src');
};
const ask = async () => {
  if (running >= 2 || !waiting.size) return;
  const batch = [...waiting].slice(0, BATCH), asked = set;
  batch.forEach(([id]) => waiting.delete(id));
  running += 1;
  try {
    const found = await server.pictures({dataset: asked, ids: batch.map(([id]) => id)});
    if (asked === set) {
      for (const [id, key] of batch) {
        const src = found[id];
        pictures.set(id, {key, src: typeof src === 'string' && src.startsWith('data:image/') ? src : null});
      }
      tiles().forEach(paint);
    }
  } catch (error) {
    console.warn('pictures', error);
  } finally {
    running -= 1;
    ask();
  }
};
const observer = new IntersectionObserver((entries) => {
  for (const {isIntersecting, target} of entries) {
    if (isIntersecting && pictures.get(idOf(target))?.key !== target.dataset.key) waiting.set(idOf(target), target.dataset.key);
  }
  ask();
  ask();
}, {rootMargin: '200px'});

const mark = () => {
  const words = element.querySelector('[data-count]');
  element.classList.toggle('lb-picking', picked.size > 0);
  for (const tile of tiles()) {
    const on = picked.has(idOf(tile));
    tile.classList.toggle('lb-picked', on);
    tile.querySelector('input').checked = on;
  }
  for (const part of element.querySelectorAll('[data-when-picked]')) part.hidden = picked.size === 0;
  if (words) words.textContent = (picked.size === 1 ? words.dataset.one : words.dataset.many).replace('{n}', picked.size.toLocaleString('en'));
  const all = element.querySelector('[data-pick-page]');
  if (all) all.setAttribute('aria-pressed', tiles().length > 0 && tiles().every((tile) => picked.has(idOf(tile))));
};
const sync = () => {
  const now = grid()?.dataset.set ?? null;
  if (now !== set) { set = now; picked.clear(); pictures.clear(); anchor = null; }
  waiting.clear();
  if (pictures.size > 600) pictures.clear();
  observer.disconnect();
  tiles().forEach((tile) => { paint(tile); observer.observe(tile); });
  mark();
};
const pick = (tile, range) => {
  const all = tiles(), at = all.indexOf(tile), from = all.findIndex((each) => idOf(each) === anchor);
  const on = !picked.has(idOf(tile));
  const chosen = range && from >= 0 ? all.slice(Math.min(at, from), Math.max(at, from) + 1) : [tile];
  chosen.forEach((each) => { if (on) picked.add(idOf(each)); else picked.delete(idOf(each)); });
  anchor = idOf(tile);
  mark();
};
const pickAll = async (button) => {
  const asked = set;
  button.disabled = true;
  try {
    const ids = await server.fitting({dataset: asked, query: JSON.parse(grid().dataset.query)});
    if (asked === set) ids.forEach((id) => picked.add(id));
    mark();
  } catch (error) {
    console.warn('fitting', error);
  } finally {
    button.disabled = false;
  }
};
const act = (action, value) => {
  trigger('act', {action, value, ids: [...picked]});
  picked.clear();
  mark();
};

element.addEventListener('click', (event) => {
  const tile = event.target.closest('[data-id]'), button = event.target.closest('button');
  if (event.target.matches('.lb-tile-pick input')) { pick(tile, event.shiftKey); return; }
  if (event.target.closest('.lb-tile-pick')) return;
  if (tile && (event.shiftKey || event.ctrlKey || event.metaKey)) { event.preventDefault(); pick(tile, event.shiftKey); return; }
  if (tile) { window.lightbox.opener = tile.dataset.id; trigger('open', {index: Number(tile.dataset.index)}); return; }
  if (!button || button.disabled) return;
  if ('turn' in button.dataset) trigger('turn', {page: Number(button.dataset.turn)});
  if (button.dataset.confirm && !button.classList.contains('lb-danger')) {  // asks once before what cannot be undone
    button.classList.add('lb-danger');
    button.textContent = button.dataset.confirm;
    return;
  }
  if ('act' in button.dataset) act(button.dataset.act, '');
  if ('moveGo' in button.dataset) {
    const to = button.parentElement.querySelector('[data-move]');
    if (to.value) act('move', to.value);
    to.value = '';
    button.disabled = true;
  }
  if ('clear' in button.dataset) { picked.clear(); mark(); }
  if ('reset' in button.dataset) trigger('reset', {});
  if ('pickAll' in button.dataset) pickAll(button);
  if ('pickPage' in button.dataset) {
    const every = tiles().every((each) => picked.has(idOf(each)));
    tiles().forEach((each) => { if (every) picked.delete(idOf(each)); else picked.add(idOf(each)); });
    mark();
  }
});
element.addEventListener('mousedown', (event) => { if (event.shiftKey && event.target.closest('[data-id]')) event.preventDefault(); });
element.addEventListener('change', (event) => {
  if (event.target.matches('[data-move]')) event.target.parentElement.querySelector('[data-move-go]').disabled = !event.target.value;
  if (event.target.matches('[data-page]')) trigger('turn', {page: Number(event.target.value)});
});
element.addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && picked.size && !document.querySelector('.lb-viewer')) { picked.clear(); mark(); }
});
watch('value', sync);
sync();
