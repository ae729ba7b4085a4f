// Saving: every edit goes to the server with the revision that it was made on. Until the server has it, this browser keeps a copy.
const PAUSES_S = [1, 2, 4, 8, 15];
const PREFIX = 'lightbox.label/';

export class Outbox {
  // send(payload) -> Promise of {revision, ...}, {conflict: {...}} or {error: {...}}; it rejects when the server cannot be reached.
  // keep: like localStorage. tell(state, details): "saving", "saved", "lost", "conflict", "refused". later(fn, ms): like setTimeout.
  constructor({dataset, send, keep, tell, same, later = (work, ms) => setTimeout(work, ms)}) {
    Object.assign(this, {dataset, send, keep, tell, same, later, waiting: new Map(), revisions: new Map(), tokens: new Set(), conflicts: new Map(), refused: new Map()});
    this.flying = null;
    this.failures = 0;
    this.retry = 0;
    this.closed = false;
  }
  key(image) { return `${PREFIX}${this.dataset}/${image}`; }
  // An image was opened, or saved by somebody: edits from here on are edits of this revision.
  opened(image, revision) { if (!this.pending(image)) this.revisions.set(image, revision); }
  pending(image) { return this.waiting.has(image) || this.flying?.image === image || this.conflicts.has(image) || this.refused.has(image); }
  get busy() { return this.waiting.size > 0 || this.flying !== null; }
  put(image, doc) {
    const base = this.revisions.get(image);
    this.waiting.set(image, {image, doc, token: newToken(), expected: base});
    this.store(image, doc, base);
    if (this.conflicts.has(image)) {
      this.keepApart(image, doc, base);
      this.tell('conflict', {image});
      return;
    }
    this.tell('saving', {image});
    this.pump();
  }
  store(image, doc, revision) {
    try {
      this.keep.setItem(this.key(image), JSON.stringify({doc, revision, tokens: [...this.tokens].slice(-20)}));
      this.unkept = false;
    } catch { this.unkept = true; }  // the browser's store is full or closed: the copy lives in this page only
  }
  // What this browser still holds of an image that was never confirmed: {doc, revision} or null.
  left(image) {
    try {
      const own = this.keep.getItem(this.key(image)), apart = own === null ? this.apartOf(image) : null;
      const found = JSON.parse(own ?? (apart && this.keep.getItem(apart)));
      (found?.tokens ?? []).forEach((token) => this.tokens.add(token));
      return found && {...found, apart};
    } catch { return null; }
  }
  // A version that waits for a person's choice: another tab of this browser, which saves the same image, must not take it away.
  keepApart(image, doc, revision) {
    const found = this.conflicts.get(image);
    found.apart ??= `${this.key(image)}/${newToken()}`;
    try { this.keep.setItem(found.apart, JSON.stringify({doc, revision, tokens: []})); this.forget(image); } catch { this.unkept = true; }
  }
  apartOf(image) {
    const start = `${this.key(image)}/`;
    return this.kept().find((key) => key.startsWith(start)) ?? null;
  }
  kept() { try { return Array.from({length: this.keep.length}, (_, i) => this.keep.key(i)).filter(Boolean); } catch { return []; } }
  forget(image) { try { this.keep.removeItem(this.key(image)); } catch { /* nothing was kept */ } }
  // Somebody has put it, or found the conflict again, which keeps it anew.
  taken({apart}) { if (apart) try { this.keep.removeItem(apart); } catch { /* nothing was kept */ } }
  leftovers() {
    const start = `${PREFIX}${this.dataset}/`;
    return [...new Set(this.kept().filter((key) => key.startsWith(start)).map((key) => Number(key.slice(start.length).split('/')[0])))];
  }
  async pump() {
    if (this.flying || this.closed) return;
    const next = [...this.waiting.values()].find((each) => !this.conflicts.has(each.image));
    if (!next) return;
    this.waiting.delete(next.image);
    this.flying = next;
    next.expected = this.revisions.get(next.image);
    this.tokens.add(next.token);
    let answer = null;
    try {
      answer = await this.send({image: next.image, doc: next.doc, expected: next.expected, token: next.token});
    } catch { answer = null; }
    this.flying = null;
    if (answer && typeof answer === 'object' && ('revision' in answer || 'conflict' in answer || 'error' in answer)) this.answered(next, answer);
    else this.lost(next);
    if (this.failures === 0) this.pump();
  }
  answered(sent, answer) {
    this.failures = 0;
    const {image} = sent;
    if (!('error' in answer)) this.refused.delete(image);
    if ('revision' in answer) {
      this.revisions.set(image, answer.revision);
      if (!this.waiting.has(image)) {
        this.forget(image);
        this.tell('saved', {image, answer});
      }
    } else if ('conflict' in answer) this.clash(sent, answer.conflict);
    else if (!this.waiting.has(image)) {
      this.refused.set(image, {doc: sent.doc, error: answer.error});
      this.tell('refused', {image, error: answer.error});
    }
  }
  // A person gives up what this browser holds of an image: what the server has counts.
  drop(image) {
    this.refused.delete(image);
    this.waiting.delete(image);
    this.forget(image);
  }
  clash(sent, theirs) {
    const {image} = sent, mine = this.waiting.get(image)?.doc ?? sent.doc;
    if (theirs.token && this.tokens.has(theirs.token)) {  // our own edit arrived, only its answer was lost
      this.revisions.set(image, theirs.revision);
      if (!this.waiting.has(image)) this.waiting.set(image, sent);
    } else if (this.same(mine, theirs)) {
      this.revisions.set(image, theirs.revision);
      this.waiting.delete(image);
      this.forget(image);
      this.tell('saved', {image, answer: theirs});
    } else {
      this.waiting.delete(image);
      this.conflicts.set(image, {mine, theirs});
      this.keepApart(image, mine, sent.expected ?? this.revisions.get(image));
      this.tell('conflict', {image, mine, theirs});
    }
  }
  // A person has chosen what becomes of two versions of an image. doc null: theirs stays.
  settle(image, doc) {
    const found = this.conflicts.get(image);
    if (!found) return;
    this.conflicts.delete(image);
    if (found.apart) try { this.keep.removeItem(found.apart); } catch { /* nothing was kept */ }
    this.waiting.delete(image);
    this.revisions.set(image, found.theirs.revision);
    if (doc) this.put(image, doc); else { this.forget(image); this.tell('saved', {image, answer: found.theirs}); }
  }
  lost(sent) {
    if (!this.waiting.has(sent.image)) this.waiting.set(sent.image, sent);
    this.failures += 1;
    this.tell('lost', {image: sent.image, kept: !this.unkept});
    clearTimeout(this.retry);
    this.retry = this.later(() => this.again(), PAUSES_S[Math.min(this.failures, PAUSES_S.length) - 1] * 1000);
  }
  again() {
    if (this.flying) return;
    this.failures = 0;
    this.pump();
  }
  close() { this.closed = true; clearTimeout(this.retry); }
}

const newToken = () => Array.from({length: 4}, () => Math.floor(Math.random() * 2 ** 32).toString(36)).join('');
