// The order of work: the images around the one that is open, with the state of each, the filter and the progress.
import {fill, make} from './dom.js';

export const STATES = ['unlabeled', 'suggested', 'labeled', 'checked', 'skipped'];

export class Strip {
  // ask: {queue(around, state), thumbs(ids)} of the server; open(id) shows an image.
  constructor(text, ask, open) {
    Object.assign(this, {text, ask, open, images: [], start: 0, total: 0, current: 0, counts: {}, pictures: new Map(), running: false, state: ''});
    this.filter = make('select', {class: 'lb-an-select', 'aria-label': text('filter'), onchange: () => { this.state = this.filter.value; this.changedFilter(); }},
      make('option', {value: ''}, text('all')), ...STATES.map((state) => make('option', {value: state}, text(`state.${state}`))));
    this.list = make('div', {class: 'lb-an-strip', role: 'list', 'aria-label': text('images')});
    this.bar = make('div', {class: 'lb-an-progress', role: 'img'});
    this.place = make('span', {class: 'lb-an-muted lb-an-place'});
    this.observer = new IntersectionObserver((entries) => { if (entries.some(({isIntersecting}) => isIntersecting)) this.load(); }, {root: this.list, rootMargin: '0px 200px'});
  }
  async changedFilter() {
    const {images} = await this.refill(0);
    if (images.length && !images.some(([id]) => id === this.current)) this.open(images[0][0]); else this.render();
  }
  async refill(around) {
    const found = await this.ask.queue(around, this.state);
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
    const found = () => (step > 0 ? this.images.find(([id]) => id > this.current) : this.images.findLast(([id]) => id < this.current));
    const ends = step > 0 ? this.start + this.images.length >= this.total : this.start <= 0;
    if (!found() && !ends) await this.refill(this.current);
    return found()?.[0] ?? null;
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
