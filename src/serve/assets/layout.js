/**
 * Where things stand on the map. Pure, and deterministic: the same names give the same places, and what has a place
 * keeps it while others come and go. Ensembles fill a grid to the right of x = 0, each a circle in a square of cells; VMs
 * in none stand in rows on the left.
 */
import { byName } from "./format.js";

/** The distance between neighbouring VMs, in units of the plane. All other lengths follow from it. */
export const SPACING = 56;
const MARGIN = 30;
/** A cell holds a circle of up to 5 VMs, and some air. */
const CELL = 174;
const AIR = 18;
const GOLDEN = Math.PI * (3 - Math.sqrt(5));
/** Up to so many VMs stand in one ring, where each is next to its name; more fill the circle. */
const RING = 12;

/** How far from the middle the outermost of n VMs stand. */
const seats = (n) => (n <= RING ? Math.max(34, SPACING / (2 * Math.sin(Math.PI / n))) : 0.62 * SPACING * Math.sqrt(n));

/** The radius of a circle of `n` VMs. */
export const radius = (n) => (n <= 1 ? MARGIN : seats(n) + MARGIN);

/** Where the k-th of n VMs stands in its circle. A ring is turned so that no two are at the same height: names are wide. */
export function seat(k, n) {
  if (n === 1) return { x: 0, y: 0 };
  const ring = n <= RING;
  const angle = ring ? (2 * Math.PI * k + Math.PI / 2) / n - Math.PI / 2 : k * GOLDEN;
  const far = ring ? seats(n) : 0.62 * SPACING * Math.sqrt(k + 0.5);
  return { x: far * Math.cos(angle), y: far * Math.sin(angle) };
}

/** The side of the square that `n` VMs need, in cells: a group may grow within it without moving. */
const side = (n) => Math.ceil((2 * radius(n) + AIR) / CELL);

/**
 * The places of groups. A group is `{id, size, near}`: how many VMs it holds, and the ids of groups it should stand
 * next to (those it shares a hub with).
 */
export class Places {
  /** Which cells are taken. */
  #taken = new Set();
  /** For each id its square: the cell (i, j) at its upper left, and its side m. */
  #squares = new Map();
  /** For each number of cells the shell where room was found last: it is not looked for further inside again. */
  #searched = new Map();

  /** Gives every group a place: `Map id -> {x, y, r}`. Places of groups that are not there now are kept for them. */
  place(groups) {
    this.#forget(groups);
    const wanted = new Map(groups.map((group) => [group.id, group]));
    const order = [...wanted.keys()].sort(byName);
    for (const id of order) this.#grow(wanted.get(id));
    for (const id of order) if (!this.#squares.has(id)) this.#settle(together(id, wanted, this.#squares), wanted);
    return new Map(order.map((id) => [id, middle(this.#squares.get(id), wanted.get(id).size)]));
  }

  /** Kept places must not pile up: at most 4 for each that is used. */
  #forget(groups) {
    if (this.#squares.size <= 4 * groups.length + 64) return;
    const used = new Set(groups.map(({ id }) => id));
    for (const id of [...this.#squares.keys()]) if (!used.has(id)) this.#leave(id);
    this.#searched.clear();
  }

  #leave(id) {
    for (const cell of cells(this.#squares.get(id))) this.#taken.delete(cell);
    this.#squares.delete(id);
  }

  #take(id, square) {
    for (const cell of cells(square)) this.#taken.add(cell);
    this.#squares.set(id, square);
  }

  #free(square) {
    return square.i >= 0 && cells(square).every((cell) => !this.#taken.has(cell));
  }

  /** A group that outgrew its square moves as little as possible. */
  #grow({ id, size }) {
    const old = this.#squares.get(id), m = side(size);
    if (!old || m <= old.m) return;
    this.#leave(id);
    this.#take(id, nearest(old, m, (square) => this.#free(square)));
  }

  #settle(ids, wanted) {
    const placed = (id) => wanted.get(id).near.map((near) => this.#squares.get(near)).filter(Boolean);
    const started = ids.some((id) => placed(id).length > 0);
    const local = started ? null : cluster(ids, wanted);
    if (local) {
      const moved = ([i, j]) => local.map(([id, square]) => [id, { ...square, i: square.i + i, j: square.j + j }]);
      for (const [id, square] of this.#scan(local, moved)) this.#take(id, square);
      return;
    }
    // Some of their neighbours stand already: next to those, the best connected first.
    for (const id of ids.sort((a, b) => placed(b).length - placed(a).length || byName(a, b))) {
      this.#take(id, nearest(mean(placed(id)), side(wanted.get(id).size), (square) => this.#free(square)));
    }
  }

  /** The first shell around (0, 0) where all squares of `local` find room. */
  #scan(local, moved) {
    const size = local.reduce((sum, [, { m }]) => sum + m * m, 0);
    for (let shell = this.#searched.get(size) ?? 0; ; shell += 1) {
      for (const corner of shellOf(shell)) {
        const squares = moved(corner);
        if (!squares.every(([, square]) => this.#free(square))) continue;
        this.#searched.set(size, shell);
        return squares;
      }
    }
  }
}

/** The keys of the cells of a square. 2^16 rows are 65,000 times 174 units: more than any map has. */
function cells({ i, j, m }) {
  const keys = [];
  for (let a = i; a < i + m; a += 1) for (let b = j; b < j + m; b += 1) keys.push(a * 65_536 + b);
  return keys;
}

const middle = ({ i, j, m }, size) => ({ x: (i + m / 2) * CELL, y: (j + m / 2) * CELL, r: radius(size) });

/** The middle of some squares, as a cell. */
function mean(squares) {
  const of = (key) => Math.round(squares.reduce((sum, one) => sum + one[key] + (one.m - 1) / 2, 0) / Math.max(1, squares.length));
  return { i: of("i"), j: of("j") };
}

/** `first` and all without a place that hang together with it, the best connected first. */
function together(first, wanted, squares) {
  const found = new Set([first]);
  for (const id of found) {
    for (const next of wanted.get(id).near) if (wanted.has(next) && !squares.has(next)) found.add(next);
  }
  const links = (id) => wanted.get(id).near.length;
  return [...found].sort((a, b) => links(b) - links(a) || byName(a, b));
}

/** Groups that hang together, around the best connected: `[[id, square]]`, all at i, j >= 0. */
function cluster(ids, wanted) {
  const taken = new Set(), placed = new Map();
  for (const id of ids) {
    const near = wanted.get(id).near.map((one) => placed.get(one)).filter(Boolean);
    const square = nearest(mean(near), side(wanted.get(id).size), (one) => cells(one).every((cell) => !taken.has(cell)));
    for (const cell of cells(square)) taken.add(cell);
    placed.set(id, square);
  }
  const least = (key) => [...placed.values()].reduce((all, one) => Math.min(all, one[key]), Infinity);
  const [left, top] = [least("i"), least("j")];
  return [...placed].map(([id, { i, j, m }]) => [id, { i: i - left, j: j - top, m }]);
}

/** The free square of side `m` that is nearest to a cell. */
function nearest({ i, j }, m, free) {
  for (let ring = 0; ; ring += 1) {
    const around = [];
    for (let d = -ring; d <= ring; d += 1) around.push([d, -ring], [d, ring], [-ring, d], [ring, d]);
    around.sort(([a, b], [c, d]) => a * a + b * b - c * c - d * d);
    for (const [di, dj] of around) {
      const square = { i: i + di, j: j + dj, m };
      if (free(square)) return square;
    }
  }
}

/** The shells made so far: 10,000 VMs need some 30. */
const SHELLS = [];

/** The cells of shell number k: i from 0 to 3k, j from -k to k, without those of shell k - 1; near the middle first. */
function shellOf(k) {
  if (SHELLS[k]) return SHELLS[k];
  const points = [];
  for (let i = 0; i <= 3 * k; i += 1) points.push([i, -k], [i, k]);
  for (let j = -k + 1; j < k; j += 1) for (let i = Math.max(0, 3 * k - 2); i <= 3 * k; i += 1) points.push([i, j]);
  const far = ([i, j]) => i * i + 4 * j * j;
  SHELLS[k] = points.sort((a, b) => far(a) - far(b));
  return points;
}

/** Rows for VMs in no ensemble, left of x = 0: whoever has a place there keeps it. */
export class Rows {
  #slots = new Map();
  #points = [];
  #shell = 0;

  /** Gives every id a place: `Map id -> {x, y}`. */
  place(ids) {
    const used = new Set(ids);
    if (this.#slots.size > 4 * used.size + 64) {
      for (const id of this.#slots.keys()) if (!used.has(id)) this.#slots.delete(id);
    }
    const taken = new Set(this.#slots.values());
    let next = 0;
    for (const id of [...ids].sort(byName)) {
      if (this.#slots.has(id)) continue;
      while (taken.has(next)) next += 1;
      taken.add(next);
      this.#slots.set(id, next);
    }
    return new Map([...ids].map((id) => [id, this.#point(this.#slots.get(id))]));
  }

  #point(slot) {
    for (; this.#points.length <= slot; this.#shell += 1) {
      const k = this.#shell;
      for (let j = -k; j <= k; j += 1) this.#points.push([k, j]);
      for (let i = 0; i < k; i += 1) this.#points.push([i, -k], [i, k]);
    }
    const [i, j] = this.#points[slot];
    return { x: -120 - i * SPACING, y: CELL / 2 + (j + (i % 2) / 2) * SPACING };
  }
}
