// Who outlines what is pointed at: colours alone, or SAM 2 when its weights are there; the choice stays in this browser.
import {make} from './dom.js';

const KEY = 'lightbox.pointer', GET = '+', POLL_MS = 800;

export class Pointers {
  constructor(lab) {
    Object.assign(this, {lab, models: null, download: null, timer: 0, wanted: globalThis.localStorage?.getItem(KEY) ?? ''});
    this.select = make('select', {class: 'lb-an-select', 'aria-label': lab.text('pointer'), onchange: () => this.choose(this.select.value)});
    this.words = make('span', {class: 'lb-an-muted', role: 'status'});
    this.element = make('div', {class: 'lb-an-pointers', hidden: true}, this.select, this.words);
    for (const kind of ['pointerdown', 'wheel', 'dblclick']) this.element.addEventListener(kind, (event) => event.stopPropagation());
  }
  // The id of the model that outlines; "": colours.
  get model() { return this.models?.some(([, id]) => id === this.wanted) ? this.wanted : ''; }
  close() { clearTimeout(this.timer); }
  // Shown while the tool is in hand.
  show(on) {
    if (on && this.element.hidden) this.refresh();
    this.element.hidden = !on || !(this.models?.length || this.download);
    this.on = on;
  }
  async refresh() {
    const answer = await this.lab.call('pointers', {}).catch(() => null);
    if (answer && !answer.error) this.take(answer);
  }
  take({models, download}) {
    const came = this.models && models.find(([, id]) => !this.models.some(([, other]) => other === id));
    Object.assign(this, {models, download});
    if (came && this.waiting) { this.wanted = came[1]; this.waiting = false; globalThis.localStorage?.setItem(KEY, this.wanted); }
    this.render();
    clearTimeout(this.timer);
    if (download?.phase === 'running') this.timer = setTimeout(() => this.refresh(), POLL_MS);
  }
  render() {
    const {text} = this.lab, {models, download} = this, running = download?.phase === 'running';
    this.select.replaceChildren(make('option', {value: ''}, text('pointer.colours')), ...models.map(([name, id]) => make('option', {value: id}, name)),
      ...(download && !running ? [make('option', {value: GET}, text('pointer.get', {mb: download.megabytes}))] : []));
    this.select.value = this.model;
    const mb = (bytes) => Math.round(bytes / 1e6);
    this.words.textContent = running ? text('pointer.getting', {done: mb(download.done), total: mb(download.total) || download.megabytes}) : download?.phase === 'failed' ? download.error : '';
    this.words.hidden = !this.words.textContent;
    this.element.hidden = !this.on || !(models.length || download);
  }
  async choose(id) {
    if (id === GET) {
      this.waiting = true;
      const answer = await this.lab.call('fetch', {}).catch(() => null);
      if (answer?.error) this.lab.hint(`${answer.error.message} ${answer.error.remedy}`); else if (answer) this.take(answer); else this.lab.hint(this.lab.text('offline'));
      return;
    }
    this.wanted = id;
    globalThis.localStorage?.setItem(KEY, id);
    this.lab.studio.tools.points.again();
    this.lab.act('focus');
  }
}
