// Undo and redo over all tools: whole documents, which share what did not change.
export const DEPTH = 100;

export class History {
  constructor(depth = DEPTH) {
    this.depth = depth;
    this.clear();
  }
  clear() {
    this.past = [];
    this.future = [];
  }
  // `before` is what an edit replaced.
  note(before) {
    this.past.push(before);
    if (this.past.length > this.depth) this.past.shift();
    this.future = [];
  }
  undo(now) {
    if (!this.past.length) return null;
    this.future.push(now);
    return this.past.pop();
  }
  redo(now) {
    if (!this.future.length) return null;
    this.past.push(now);
    return this.future.pop();
  }
}
