// Points, boxes and rings in pixels of the original image. A point is [x, y], a box [x1, y1, x2, y2], a ring a flat list [x, y, x, y, ...].

export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
export const rounded = (value) => Math.round(value * 100) / 100;  // a hundredth of a pixel is finer than any pointer
export const inside = ([x, y], [width, height]) => [clamp(x, 0, width), clamp(y, 0, height)];
export const distance = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);

export const boxBetween = (a, b) => [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[0], b[0]), Math.max(a[1], b[1])];
export const boxesMeet = (a, b) => a[0] <= b[2] && b[0] <= a[2] && a[1] <= b[3] && b[1] <= a[3];
export const boxInBox = (a, b) => a[0] >= b[0] && a[1] >= b[1] && a[2] <= b[2] && a[3] <= b[3];
export const pointInBox = ([x, y], box, slack = 0) => x >= box[0] - slack && x <= box[2] + slack && y >= box[1] - slack && y <= box[3] + slack;
export const boxOfRings = (rings) => {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const ring of rings) {
    for (let i = 0; i < ring.length; i += 2) {
      if (ring[i] < box[0]) box[0] = ring[i];
      if (ring[i] > box[2]) box[2] = ring[i];
      if (ring[i + 1] < box[1]) box[1] = ring[i + 1];
      if (ring[i + 1] > box[3]) box[3] = ring[i + 1];
    }
  }
  return box;
};
export const ringOfBox = ([x1, y1, x2, y2]) => [x1, y1, x2, y1, x2, y2, x1, y2];

// A shift that keeps `box` within the image, as far as it was inside.
export const shiftWithin = (box, dx, dy, [width, height]) => [
  clamp(dx, Math.min(0, -box[0]), Math.max(0, width - box[2])), clamp(dy, Math.min(0, -box[1]), Math.max(0, height - box[3]))];

// The eight handles of a box: name -> which sides follow the pointer.
export const HANDLES = {nw: [0, 1], n: [null, 1], ne: [2, 1], e: [2, null], se: [2, 3], s: [null, 3], sw: [0, 3], w: [0, null]};
export const handlePoint = (box, name) => {
  const [h, v] = HANDLES[name];
  return [h === null ? (box[0] + box[2]) / 2 : box[h], v === null ? (box[1] + box[3]) / 2 : box[v]];
};
export const resized = (box, name, [x, y]) => {
  const sides = [...box], [h, v] = HANDLES[name];
  if (h !== null) sides[h] = x;
  if (v !== null) sides[v] = y;
  return boxBetween([sides[0], sides[1]], [sides[2], sides[3]]);
};

// Even-odd: is the point inside the ring?
export const pointInRing = ([x, y], ring) => {
  let odd = false;
  for (let i = 0, j = ring.length - 2; i < ring.length; j = i, i += 2) {
    const xi = ring[i], yi = ring[i + 1], xj = ring[j], yj = ring[j + 1];
    if ((yi > y) !== (yj > y) && x < (xj - xi) * (y - yi) / (yj - yi) + xi) odd = !odd;
  }
  return odd;
};
export const nearestOnSegment = ([x, y], x1, y1, x2, y2) => {
  const dx = x2 - x1, dy = y2 - y1, length = dx * dx + dy * dy;
  const share = length ? clamp(((x - x1) * dx + (y - y1) * dy) / length, 0, 1) : 0;
  return [x1 + share * dx, y1 + share * dy];
};
// The side of a closed ring that runs nearest to a point: {at: index of the vertex where it begins, point, distance}.
export const nearestSide = (point, ring) => {
  let best = {at: 0, point: [ring[0], ring[1]], distance: Infinity};
  for (let i = 0; i < ring.length; i += 2) {
    const j = (i + 2) % ring.length;
    const near = nearestOnSegment(point, ring[i], ring[i + 1], ring[j], ring[j + 1]);
    const far = distance(point, near);
    if (far < best.distance) best = {at: i / 2, point: near, distance: far};
  }
  return best;
};
export const nearestVertex = (point, ring) => {
  let best = {at: 0, distance: Infinity};
  for (let i = 0; i < ring.length; i += 2) {
    const far = distance(point, [ring[i], ring[i + 1]]);
    if (far < best.distance) best = {at: i / 2, distance: far};
  }
  return best;
};
export const withVertex = (ring, at, [x, y]) => [...ring.slice(0, at * 2), x, y, ...ring.slice(at * 2)];
export const withoutVertex = (ring, at) => [...ring.slice(0, at * 2), ...ring.slice(at * 2 + 2)];
export const vertexMoved = (ring, at, [x, y]) => { const copy = ring.slice(); copy[at * 2] = x; copy[at * 2 + 1] = y; return copy; };
export const shifted = (ring, dx, dy) => ring.map((value, i) => rounded(value + (i % 2 ? dy : dx)));
export const signedArea = (ring) => {
  let sum = 0;
  for (let i = 0, j = ring.length - 2; i < ring.length; j = i, i += 2) sum += ring[j] * ring[i + 1] - ring[i] * ring[j + 1];
  return sum / 2;
};
export const ringArea = (ring) => Math.abs(signedArea(ring));

// Fewer vertices, none of the dropped ones further than `tolerance` from the new outline. The ring stays closed and keeps at least three.
export const simplified = (ring, tolerance) => {
  const count = ring.length / 2;
  if (count <= 3) return ring;
  const point = (i) => [ring[2 * (i % count)], ring[2 * (i % count) + 1]];
  let far = 0;
  for (let i = 1; i < count; i += 1) if (distance(point(0), point(i)) > distance(point(0), point(far))) far = i;
  const keep = new Set([0, far]), waiting = [[0, far], [far, count]];
  while (waiting.length) {
    const [from, to] = waiting.pop();
    let worst = -1, most = tolerance;
    for (let i = from + 1; i < to; i += 1) {
      const off = distance(point(i), nearestOnSegment(point(i), ...point(from), ...point(to)));
      if (off > most) { most = off; worst = i; }
    }
    if (worst >= 0) { keep.add(worst); waiting.push([from, worst], [worst, to]); }
  }
  const kept = [...keep].sort((a, b) => a - b);
  return kept.length < 3 ? ring : kept.flatMap(point);
};

// Cuts a ring along the straight line between two of its vertices.
export const splitAt = (ring, a, b) => {
  const [low, high] = a < b ? [a, b] : [b, a];
  const first = ring.slice(low * 2, high * 2 + 2), second = [...ring.slice(high * 2), ...ring.slice(0, low * 2 + 2)];
  return first.length >= 6 && second.length >= 6 ? [first, second] : null;
};
