// The order of work: the images around the one that is open, with the state of each, the filter and the progress.
import {fill, iconButton, make} from './dom.js';

export const STATES = ['unlabeled', 'suggested', 'labeled', 'checked', 'skipped'];

export const ORDERS = ['id', 'uncertain', 'suspect', 'rare'];

export class Strip {
  // ask: {queue({around, order, state, cls, split, text}), thumbs(ids)} of the server; open(id) shows an image.
  constructor(text, {classes, splits}, ask, open) {
    Object.assign(this, {text, ask, open, images: [], start: 0, total: 0, current: 0, at: 0, counts: {}, pictures: new Map(), running: false,
      wanted: {order: 'id', state: '', cls: null, split: '', text: ''}});
    const select = (name, words, choices) => make('select', {class: 'lb-an-select', 'aria-label': words, onchange: (event) => this.choose({[name]: event.target.value})},
      ...choices.map(([value, shown]) => make('option', {value}, shown)));
    this.order = select('order', text('order'), ORDERS.map((order) => [order, text(`order.${order}`)]));
    this.filter = select('state', text('filter'), [['', text('all')], ...STATES.map((state) => [state, text(`state.${state}`)]), ['unseen', text('unseen')]]);
    this.cls = select('cls', text('filterClass'), []);
    this.split = select('split', text('filterSplit'), [['', text('anySplit')], ...splits.map((split) => [split, split])]);
    this.name = make('input', {type: 'search', class: 'lb-an-search', placeholder: text('filterName'), 'aria-label': text('filterName'), onchange: () => this.choose({text: this.name.value.trim()})});
    this.more = iconButton('filter', text('filters'), () => { this.popover.hidden = !this.popover.hidden; }, {'aria-haspopup': 'true', 'data-do': 'filters'});
    this.popover = make('div', {class: 'lb-an-popover', hidden: true, role: 'group', 'aria-label': text('filters'),
      onkeydown: (event) => { if (event.key === 'Escape') { this.popover.hidden = true; this.more.focus(); event.stopPropagation(); } }}, this.cls, this.split, this.name,
    make('button', {type: 'button', class: 'lb-an-button', onclick: () => this.choose({cls: '', split: '', text: '', state: ''}, true)}, text('noFilters')));
    this.useClasses(classes);
    this.list = make('div', {class: 'lb-an-strip', role: 'list', 'aria-label': text('images')});
    this.bar = make('div', {class: 'lb-an-progress', role: 'img'});
    this.place = make('span', {class: 'lb-an-muted lb-an-place'});
    this.observer = new IntersectionObserver((entries) => { if (entries.some(({isIntersecting}) => isIntersecting)) this.load(); }, {root: this.list, rootMargin: '0px 200px'});
  }
  useClasses(classes) {
    this.cls.replaceChildren(make('option', {value: ''}, this.text('anyClass')), ...classes.map(({name}, i) => make('option', {value: i}, name)));
    this.cls.value = this.wanted.cls ?? '';
  }
  // Another order or other filters; `shown`: the fields do not know of it yet. Opens the first image when the open one does not fit or the order is new.
  async choose(change, shown = false) {
    const {cls = this.wanted.cls ?? ''} = change;
    this.wanted = {...this.wanted, ...change, cls: cls === '' ? null : Number(cls)};
    if (shown) for (const [field, name] of [['order', 'order'], ['filter', 'state'], ['cls', 'cls'], ['split', 'split'], ['name', 'text']]) this[field].value = this.wanted[name] ?? '';
    this.more.setAttribute('aria-pressed', String(this.wanted.cls !== null || this.wanted.split !== '' || this.wanted.text !== ''));
    try {
      const {images} = await this.refill(0), first = images[0]?.[0];
      if (first !== undefined && (change.order || !images.some(([id]) => id === this.current))) await this.open(first); else this.render();
    } catch { this.list.replaceChildren(make('p', {class: 'lb-an-muted'}, this.text('offline'))); }
  }
  async refill(around) {
    const found = await this.ask.queue({around, ...this.wanted});
    if (found.error) throw new Error(found.error.message);
    Object.assign(this, {images: found.images, start: found.start, total: found.total, counts: found.counts ?? this.counts});
    return this;
  }
  async show(id) {
    this.current = id;
    const at = this.images.findIndex(([each]) => each === id);
    if (at < 0 || (at < 5 && this.start > 0) || (at > this.images.length - 6 && this.start + this.images.length < this.total)) await this.refill(id);
    this.render();
  }
  // The image that comes `step` after (or before) the open one, also when that does not fit the filter any more.
  async neighbour(step) {
    const find = () => {
      const at = this.images.findIndex(([id]) => id === this.current);
      if (at >= 0) return this.images[at + step];
      if (this.wanted.order !== 'id') return this.images[step > 0 ? this.at : this.at - 1];
      return step > 0 ? this.images.find(([id]) => id > this.current) : this.images.findLast(([id]) => id < this.current);
    };
    const ends = step > 0 ? this.start + this.images.length >= this.total : this.start <= 0;
    if (!find() && !ends) await this.refill(this.current);
    return find()?.[0] ?? null;
  }
  // An image has another state now.
  mark(id, state) {
    const entry = this.images.find(([each]) => each === id);
    if (!entry || entry[1] === state) return;
    this.counts[entry[1]] = Math.max(0, (this.counts[entry[1]] ?? 0) - 1);
    this.counts[state] = (this.counts[state] ?? 0) + 1;
    entry[1] = state;
    this.render();
  }
  render() {
    const at = this.images.findIndex(([id]) => id === this.current);
    if (at >= 0) this.at = at;
    this.place.textContent = at >= 0 ? fill(this.text('place'), {index: (this.start + at + 1).toLocaleString('en'), total: this.total.toLocaleString('en')}) : '';
    const from = Math.max(0, at - 20), tiles = this.images.slice(from, from + 60).map((entry) => this.tile(entry));
    this.observer.disconnect();
    this.list.replaceChildren(...(tiles.length ? tiles : [make('p', {class: 'lb-an-muted'}, this.text('noneFit'))]));
    tiles.forEach((tile) => this.observer.observe(tile));
    const open = this.list.querySelector('[aria-current]');
    if (open) this.list.scrollLeft = open.offsetLeft - this.list.offsetLeft - this.list.clientWidth / 2 + open.offsetWidth / 2;
    this.progress();
  }
  tile([id, state]) {
    const source = this.pictures.get(id), words = this.text(`state.${state}`);
    return make('button', {type: 'button', role: 'listitem', class: 'lb-an-tile', 'data-id': id, 'aria-current': id === this.current ? 'true' : null, title: words,
      'aria-label': `${id} · ${words}`, onclick: () => this.open(id)}, source ? make('img', {src: source, alt: '', draggable: 'false'}) : make('span', {}),
    make('i', {class: `lb-an-dot lb-an-${state}`}));
  }
  progress() {
    const all = STATES.reduce((sum, state) => sum + (this.counts[state] ?? 0), 0) || 1, done = (this.counts.labeled ?? 0) + (this.counts.checked ?? 0);
    const words = fill(this.text('progress'), {done: done.toLocaleString('en'), total: all.toLocaleString('en')});
    this.bar.setAttribute('aria-label', words);
    this.bar.title = STATES.map((state) => `${this.text(`state.${state}`)}: ${(this.counts[state] ?? 0).toLocaleString('en')}`).join('\n');
    const parts = ['checked', 'labeled', 'suggested', 'skipped'].map((state) => make('i', {class: `lb-an-${state}`, style: `width:${100 * (this.counts[state] ?? 0) / all}%`}));
    this.bar.replaceChildren(make('div', {}, ...parts), make('span', {}, words));
  }
  async load() {
    if (this.running) return;
    const frame = this.list.getBoundingClientRect();
    const ids = [...this.list.querySelectorAll('[data-id]')].filter((tile) => {
      const {left, right} = tile.getBoundingClientRect();
      return right > frame.left - 200 && left < frame.right + 200 && !this.pictures.has(Number(tile.dataset.id));
    }).map((tile) => Number(tile.dataset.id)).slice(0, 12);
    if (!ids.length) return;
    this.running = true;
    try {
      const found = await this.ask.thumbs(ids);
      if (this.pictures.size > 800) this.pictures.clear();
      for (const id of ids) this.pictures.set(id, /^data:image\//.test(found[id]) ? found[id] : null);
      for (const tile of this.list.querySelectorAll('[data-id]')) {
        const source = this.pictures.get(Number(tile.dataset.id));
        if (source && !tile.querySelector('img')) tile.firstChild.replaceWith(make('img', {src: source, alt: '', draggable: 'false'}));
      }
    } catch { ids.forEach((id) => this.pictures.delete(id)); await new Promise((done) => { setTimeout(done, 2000); }); }
    this.running = false;
    this.load();
  }
}
