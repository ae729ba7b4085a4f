// What models do for a person: suggestions, the most useful images first, and labels that may be wrong.
import {crossCheck} from './dialogs.js';
import {docFromWire} from './documents.js';
import {make} from './dom.js';
import {pick} from './shapes.js';

const ACTIVE = ['starting', 'running', 'stopping'];
const LOWEST = 0.1;  // suggestions below this score are not even asked for
const EVERY_MS = 1500;

export class Assist {
  constructor(lab) {
    Object.assign(this, {lab, studio: lab.studio, text: lab.text, models: [], job: null, waiting: 0, suspects: [], at: -1, timer: 0, busy: false, closed: false});
    const {text} = this, button = (name, run, attributes = {}) => make('button', {type: 'button', class: 'lb-an-button', onclick: run, ...attributes}, text(`assist.${name}`));
    this.model = make('select', {class: 'lb-an-select', 'aria-label': text('assist.model')});
    this.none = make('p', {class: 'lb-an-muted'}, text('assist.noModel'));
    this.count = make('input', {type: 'number', class: 'lb-an-search lb-an-number', min: 1, max: 10000, value: 20, 'aria-label': text('assist.count')});
    this.asks = make('div', {class: 'lb-an-actions'}, button('image', () => this.look(), {title: `${text('key.look')} (I)`}),
      make('span', {class: 'lb-an-pair'}, button('next', () => this.start('suggest', 'next')), this.count), button('unlabeled', () => this.start('suggest', 'unlabeled')));
    this.slider = make('input', {type: 'range', min: LOWEST, max: 0.99, step: 0.01, value: this.studio.threshold, 'aria-label': text('assist.threshold'), oninput: () => this.cut()});
    this.level = make('output', {class: 'lb-an-muted'});
    this.accept = button('accept', () => { this.studio.accept(this.studio.waiting()); lab.act('focus'); }, {title: `${text('key.accept')} (${text('assist.space')})`});
    this.discard = button('discard', () => { this.studio.discard(); lab.act('focus'); });
    this.everywhere = button('acceptAll', () => this.acceptAll());
    this.bar = make('div', {class: 'lb-an-job', hidden: true, role: 'status'});
    this.useful = button('useful', () => this.start('rank', 'unlabeled'));
    this.errors = button('findErrors', () => this.start('suspects', 'unlabeled'));
    this.cross = button('crossCheck', () => crossCheck(lab), {'aria-haspopup': 'dialog', 'data-do': 'crossCheck'});
    this.list = make('ul', {class: 'lb-an-list'});
    this.element = make('div', {class: 'lb-an-assist', hidden: true}, this.none, this.model, this.asks, this.bar,
      make('label', {class: 'lb-an-cutoff'}, make('span', {}, text('assist.threshold'), ' ', this.level), this.slider),
      make('div', {class: 'lb-an-actions'}, this.accept, this.discard, this.everywhere),
      make('h4', {}, text('assist.which')), make('div', {class: 'lb-an-actions'}, this.useful, this.errors, this.cross), this.list);
    this.cut();
  }
  async begin() {
    this.lab.part.stage.addEventListener('pointermove', () => this.tip());
    await this.refresh();
    if (!ACTIVE.includes(this.job?.phase)) this.seen = this.job?.started;  // what ended before this visit is no news
    this.show();
    this.watch();
  }
  // Over an object that was filled in from other labels the pointer says so.
  tip() {
    const {studio} = this, {stage} = this.lab.part, made = studio.shown().filter(({derived}) => derived);
    const at = made.length && studio.pointer ? studio.view.toImage(studio.pointer) : null, words = at && pick(made, at, 3 / studio.view.scale) ? this.text('derivedTip') : '';
    if (stage.title !== words) stage.title = words;
  }
  close() { this.closed = true; clearTimeout(this.timer); }
  async refresh() {
    try {
      const found = await this.lab.call('models', {});
      if (!found.error && found.suspects.length) this.listed = true;
      if (!found.error) Object.assign(this, {models: found.models, waiting: found.waiting, suspects: found.suspects, job: found.job, ranked: found.ranked});
    } catch { /* the next refresh says more */ }
    this.show();
  }
  show() {
    const {text, models} = this, now = this.model.value, can = models.length > 0 && !this.studio.readOnly, active = ACTIVE.includes(this.job?.phase);
    if (JSON.stringify(models) !== this.shownModels) {
      this.shownModels = JSON.stringify(models);
      this.model.replaceChildren(...models.map(([name, id]) => make('option', {value: id}, name)));
      if (models.some(([, id]) => id === now)) this.model.value = now;
    }
    this.model.hidden = this.asks.hidden = !can;
    this.none.hidden = can;
    for (const each of [...this.asks.querySelectorAll('button'), this.useful, this.errors]) each.disabled = !can || active;
    this.cross.hidden = this.studio.readOnly;
    this.cross.disabled = active;
    this.everywhere.hidden = this.studio.readOnly || !this.waiting;
    this.everywhere.textContent = text('assist.acceptAll', {n: this.waiting.toLocaleString('en')});
    this.list.replaceChildren(...this.suspects.map((each, i) => this.line(each, i)));
    this.progress(active);
    this.update();
  }
  // What follows the open image.
  update() {
    const {studio} = this, open = studio.kind === 'tags' ? studio.hints().length : studio.waiting().length;
    this.accept.disabled = !open || studio.readOnly;
    this.accept.textContent = this.text('assist.accept', {n: open});
    this.discard.disabled = studio.readOnly || !(studio.doc.hints || studio.doc.shapes.some(({state}) => state === 'suggested'));
    this.level.textContent = `${Math.round(studio.threshold * 100)}%`;
  }
  line(each, i) {
    const words = `${each.kind}: ${each.name}${each.other ? ` / ${each.other}` : ''}`;
    return make('li', {}, make('button', {type: 'button', class: 'lb-an-row', 'aria-pressed': String(i === this.at), 'data-suspect': i, onclick: () => this.suspect(i)},
      make('span', {class: 'lb-an-cut', title: words}, words), make('span', {class: 'lb-an-muted'}, `${Math.round(each.score * 100)}%`)));
  }
  progress(active) {
    const {job, text, bar} = this;
    bar.hidden = !job || (!active && this.seen === job.started);
    if (bar.hidden) return;
    const words = active ? this.running(job) : job.error || text(`assist.${job.phase === 'done' ? `done.${job.work}` : job.work === 'kfold' ? 'stopped.kfold' : 'stopped'}`, {images: job.images, shapes: job.shapes, failed: job.failed, total: job.total});
    const missing = job.missing.length ? ` ${text('assist.missing', {names: job.missing.join(', ')})}` : '';
    const shown = `${job.started}/${job.phase === 'starting' ? 'running' : job.phase}`;
    if (shown !== this.shownJob) {  // the button stays where it is while the figures move
      this.shownJob = shown;
      this.filled = active ? make('i', {}) : null;
      this.words = make('span', {});
      const end = active ? make('button', {type: 'button', class: 'lb-an-button', disabled: job.phase === 'stopping', onclick: () => this.tell('cancel', {})}, text('assist.cancel'))
        : make('button', {type: 'button', class: 'lb-an-button', onclick: () => { this.seen = job.started; this.show(); }}, text('close'));
      bar.replaceChildren(...(active ? [make('div', {class: 'lb-an-bar'}, this.filled)] : []), this.words, end);
    }
    if (this.filled) this.filled.style.width = `${100 * job.done / Math.max(job.total, 1)}%`;
    this.words.textContent = words + missing;
  }
  running(job) {
    const {text} = this, work = text(`assist.work.${job.work}`), part = job.done / Math.max(job.total, 1);
    if (job.work === 'kfold') return text('assist.runningFold', {work, share: Math.floor(100 * part), fold: Math.min(job.folds, Math.floor(part * job.folds) + 1), folds: job.folds});
    return text('assist.running', {work, done: job.done.toLocaleString('en'), total: job.total.toLocaleString('en')});
  }
  cut() {
    this.studio.threshold = Number(this.slider.value);
    this.studio.refresh();
    this.update();
  }
  async tell(name, values) {
    try {
      const answer = await this.lab.call(name, values);
      if (answer.error) { this.lab.notice(`${answer.error.message} ${answer.error.remedy}`.trim(), [[this.text('close'), () => this.lab.quiet()]]); return null; }
      if ('job' in answer) { this.job = answer.job; this.show(); }
      return answer;
    } catch { this.lab.hint(this.text('offline')); return null; }
  }
  // ---- suggestions for the open image, at once
  async look() {
    const {lab, studio} = this, {image} = lab;
    if (this.busy || studio.readOnly || image === null) return;
    if (!this.models.length) { lab.panel.show('assist'); lab.hint(this.text('assist.noModel')); return; }
    this.busy = true;
    lab.hint(this.text('assist.looking'));
    const found = await this.tell('look', {image, model: this.model.value, threshold: LOWEST});
    this.busy = false;
    if (lab.hintText === this.text('assist.looking')) lab.hint('');
    if (!found || image !== lab.image) return;
    await this.fresh();
    const {length} = studio.kind === 'tags' ? studio.hints() : studio.waiting();
    lab.hint(this.text(this.foundWords(length, found.missing), {n: length, names: found.missing.join(', ')}));
    this.refresh();
  }
  foundWords(count, missing) {
    const {kind, doc} = this.studio;
    if (count) return 'assist.found';
    if (missing.length) return 'assist.missing';
    return kind === 'tags' && doc.tags?.every((value) => value !== null) ? 'assist.noTagOpen' : 'assist.foundNone';
  }
  // Takes the suggestions that the server has now; the labels in hand stay as they are.
  async fresh() {
    const {lab, studio} = this, {image} = lab;
    if (image === null) return;
    await lab.asking('open', {image}, (facts) => {
      const {shapes, hints, suggestedAt} = docFromWire(facts.document), made = shapes.filter(({state}) => state === 'suggested');
      studio.doc = {...studio.doc, shapes: [...studio.doc.shapes.filter(({state}) => state !== 'suggested'), ...made], hints, suggestedAt};
      studio.select([]);
      studio.refresh();
    });
  }
  // ---- many images, in the background
  async start(work, images) {
    const count = Math.max(1, Math.round(Number(this.count.value)) || 20);
    if (await this.tell('job', {work, images, model: this.model.value, threshold: LOWEST, image: this.lab.image ?? 0, count})) this.watch();
  }
  async crossCheck(minutes) {
    if (await this.tell('job', {work: 'kfold', minutes})) { this.lab.panel.show('assist'); this.watch(); }
  }
  watch() {
    clearTimeout(this.timer);
    if (this.closed || !ACTIVE.includes(this.job?.phase)) return;
    this.timer = setTimeout(async () => {
      const answer = this.lab.visible() ? await this.lab.call('progress', {}).catch(() => null) : {job: this.job};
      if (this.closed) return;
      if (answer?.job) { this.job = answer.job; this.show(); }
      if (ACTIVE.includes(this.job?.phase)) this.watch(); else this.finished();
    }, EVERY_MS);
  }
  async finished() {
    const {lab, job} = this, {strip} = lab;
    await this.refresh();
    if (job?.work === 'rank' && job.phase === 'done') { await strip.choose({order: 'uncertain', state: ''}, true); return; }
    if (['suspects', 'kfold'].includes(job?.work) && job.phase === 'done') { this.at = -1; lab.panel.show('assist'); this.list.scrollIntoView({block: 'nearest'}); return; }
    if (job?.work === 'kfold') return;
    await this.fresh();
    await strip.refill(lab.image ?? 0);
    strip.render();
  }
  async acceptAll() {
    const threshold = this.studio.threshold, found = await this.tell('accept', {threshold, image: this.lab.image ?? 0});
    if (!found) return;
    this.lab.hint(this.text('assist.accepted', {n: found.images}));
    await this.lab.strip.refill(this.lab.image ?? 0);
    this.lab.strip.render();
    this.refresh();
  }
  // ---- labels that may be wrong
  async suspect(i) {
    const each = this.suspects[i], {lab, studio} = this;
    if (!each) { this.noMore(); return; }
    this.at = i;
    if (lab.image !== each.image) await lab.open(each.image);
    if (lab.image !== each.image) return;
    studio.mistake = {box: each.box, words: `${each.kind}: ${each.name}${each.other ? ` / ${each.other}` : ''}`};
    if (each.box) studio.view.show(each.box, 0.4);
    studio.useTool('select');
    const near = each.box && studio.doc.shapes.find(({cls, box}) => cls === each.cls && box.every((value, k) => Math.abs(value - each.box[k]) < 1.5));
    studio.select(near ? [near.id] : []);
    lab.hint(studio.mistake.words);
    this.show();
    lab.viewed();
  }
  // The list is empty: it was worked through, or nobody has made one.
  noMore() {
    const {lab, studio} = this;
    this.at = -1;
    studio.mistake = null;
    studio.refresh();
    lab.hint(this.text(this.listed ? 'assist.suspectsDone' : 'assist.noSuspects'));
  }
  async nextSuspect() {
    const now = this.suspects[this.at];
    await this.refresh();
    const there = this.suspects.findIndex((each) => now && each.image === now.image && each.kind === now.kind && String(each.box) === String(now.box));
    await this.suspect(there >= 0 ? (there + 1) % this.suspects.length : Math.min(Math.max(this.at, 0), this.suspects.length - 1));
  }
}
