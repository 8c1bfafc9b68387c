/**
 * The map on its canvas: camera, pointer, keyboard, and the way from one moment to the next. What it looks like is in
 * draw.js, where things stand in layout.js.
 */
import { dotPx, draw, isOpen, onScreen } from "./draw.js";
import { many } from "./format.js";
import { box, build, links, Memory } from "./scene.js";

const ZOOM_LEAST = 0.01, ZOOM_MOST = 4;
const MOVE_MS = 450;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** @typedef {{kind: "vm"|"group"|"edge", id?: string, name?: string, pair?: string[], vm?: object, group?: object}} Item */

export class MapView {
  #canvas; #ctx; #on;
  #memory = new Memory();
  #frame;
  #pointers = new Map();
  #dragged = 0;
  #moving = null;
  #asked = false;
  #fitted = false;
  /** Whether somebody chose what is in view: then new VMs do not change that. */
  #touched = false;
  #drawn = null;

  /** `on`: `open(item)`, `say(text)` for screen readers, `drawn(statistics)`. */
  constructor(canvas, on) {
    [this.#canvas, this.#ctx, this.#on] = [canvas, canvas.getContext("2d", { alpha: false }), on];
    this.#frame = { width: 1, height: 1, camera: { x: 0, y: 0, k: 1 }, scene: { groups: new Map(), nodes: new Map() },
      edges: [], links: [], closed: new Set(), passes: () => true, narrows: false, diff: null, cursor: null,
      selected: {}, hosts: null, rejected: [], ink: {} };
    this.repaint();
    new ResizeObserver(() => this.#resize()).observe(canvas);
    for (const [name, act] of Object.entries({ pointerdown: this.#down, pointermove: this.#move, pointerup: this.#up,
      pointercancel: this.#up, pointerleave: this.#leave, wheel: this.#wheel, keydown: this.#key, dblclick: this.#double })) {
      canvas.addEventListener(name, act.bind(this), { passive: false });
    }
  }

  /** Shows a moment. `filter` is of model.js, `diff` of `differences` or null; `rejected` are pairs of VMs. */
  update(snapshot, route, filter, { diff, rejected }) {
    const frame = this.#frame;
    const old = frame.snapshot && frame.grouping === route.group ? frame.scene : null;
    if (snapshot !== frame.snapshot || route.group !== frame.grouping) {
      if (frame.width === 1) this.#measure();
      frame.tall ??= frame.height > 1.2 * frame.width;
      frame.scene = build(snapshot, route.group, this.#memory, frame.tall);
      this.#depart(old, frame.scene);
      if (route.group !== frame.grouping) this.#fitted = false;
    }
    const edges = snapshot.edges.filter(filter.edge);
    for (const group of frame.scene.groups.values()) group.matching = group.nodes.filter(({ vm }) => filter.vm(vm)).length;
    Object.assign(frame, { snapshot, grouping: route.group, edges, links: links(frame.scene, edges), passes: filter.vm,
      narrows: filter.narrows, rejected, diff: diff && { ...diff, touched: touched(diff) },
      hosts: route.colour === "host" ? new Map(snapshot.hosts.map((host, i) => [host, i])) : null });
    frame.selected = { ...frame.selected, vm: route.vm, pair: route.pair,
      group: route.ensemble == null ? null : `ensemble:${route.ensemble}` };
    if (frame.width > 1 && frame.scene.nodes.size > 0 && !(this.#fitted && (this.#touched || this.#holds()))) this.fit();
    this.ask();
  }

  /** Whether everything is in view. */
  #holds() {
    const { left, top, right, bottom } = box(this.#frame.scene), { width, height } = this.#frame;
    const [from, to] = [onScreen({ x: left, y: top }, this.#frame), onScreen({ x: right, y: bottom }, this.#frame)];
    return from.x > -1 && from.y > -1 && to.x < width + 1 && to.y < height + 1;
  }

  /** Reads the colours of the style sheet anew. */
  repaint() {
    const style = getComputedStyle(document.documentElement);
    const read = (name) => style.getPropertyValue(`--${name}`).trim();
    const inks = ["ground", "circle", "closed", "rim", "band", "text", "muted", "dot", "positive", "negative", "accent",
      "fresh", "gone", "moved"];
    this.#frame.ink = Object.fromEntries(inks.map((name) => [name, read(name)]));
    this.#frame.ink.hosts = Array.from({ length: 8 }, (_, i) => read(`host-${i}`));
    this.#frame.ink.font = read("font");
    this.ask();
  }

  /** Everything in view, or what `passes` if the filter narrows and `matching` is asked for. */
  fit(matching = false) {
    const { scene, narrows, passes } = this.#frame;
    const items = matching && narrows ? [...scene.nodes.values()].filter(({ vm }) => passes(vm)) : undefined;
    if (items?.length === 0) return;
    this.#fitted = true;
    this.#touched = items !== undefined;
    this.#look(box(scene, items));
  }

  /** Brings a VM or a group into the middle, near enough to be read; if it is so already, nothing moves. */
  reveal(id) {
    const { scene, closed, width, height } = this.#frame;
    const item = scene.nodes.get(id)?.group ?? scene.groups.get(id);
    if (!item) return;
    closed.delete(item.id);
    const { x, y } = onScreen(item, this.#frame);
    if (isOpen(item, this.#frame) && this.#frame.camera.k > 0.4 && x > 0 && y > 0 && x < width && y < height) return this.ask();
    this.#touched = true;
    this.#look(box(scene, [item, ...item.shares]), 1.6);
  }

  zoom(factor, x = this.#frame.width / 2, y = this.#frame.height / 2) {
    const { camera, width, height } = this.#frame;
    const k = Math.min(ZOOM_MOST, Math.max(ZOOM_LEAST, camera.k * factor));
    camera.x += (x - width / 2) * (1 / camera.k - 1 / k);
    camera.y += (y - height / 2) * (1 / camera.k - 1 / k);
    camera.k = k;
    this.#touched = true;
    this.ask();
  }

  /** Draws all ensembles closed, or as the zoom has it. */
  closeAll(closed) {
    this.#frame.closed = new Set(closed ? this.#frame.scene.groups.keys() : []);
    this.ask();
  }

  /** Draws one ensemble closed, or no longer so. Says whether it is closed now. */
  toggle(id) {
    const { closed } = this.#frame;
    if (!closed.delete(id)) closed.add(id);
    this.ask();
    return closed.has(id);
  }

  isClosed(id) {
    return this.#frame.closed.has(id);
  }

  /** What is on the screen, for tests. */
  get sight() {
    const { scene, camera, width, height } = this.#frame;
    const at = (item) => onScreen(item, this.#frame);
    const inside = ({ x, y }) => x >= 0 && y >= 0 && x <= width && y <= height;
    return {
      ...this.#drawn,
      camera: { ...camera },
      lines: (this.#drawn?.lines ?? []).map(({ edge }) => [edge.a.id, edge.b.id]),
      marks: (this.#drawn?.marks ?? []).map(({ pair, decided }) => [...pair, decided]),
      groups: [...scene.groups.values()].map((one) => ({ id: one.id, size: one.nodes.length, open: isOpen(one, this.#frame),
        world: one.to, ...at(one) })).filter(inside),
      nodes: [...scene.nodes.values()].filter(({ group }) => isOpen(group, this.#frame))
        .map((one) => ({ id: one.vm.id, world: one.to, ...at(one) })).filter(inside),
    };
  }

  /** Draws in the next frame. */
  ask() {
    if (this.#asked) return;
    this.#asked = true;
    requestAnimationFrame((now) => this.#draw(now));
  }

  #draw(now) {
    this.#asked = false;
    this.#step(now);
    this.#drawn = draw(this.#ctx, this.#frame);
    this.#on.drawn(this.#drawn, this.#frame);
  }

  #resize() {
    if (!this.#measure()) return;
    if (!this.#fitted && this.#frame.scene.nodes.size > 0) this.fit();
    this.#asked = true;
    this.#draw(performance.now());
  }

  /** Takes the size that the page gives the canvas. Whether there is any. */
  #measure() {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    if (width === 0 || height === 0) return false;
    const ratio = Math.min(2, devicePixelRatio);
    [this.#canvas.width, this.#canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    this.#ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    Object.assign(this.#frame, { width, height });
    return true;
  }

  #look({ left, top, right, bottom }, most = 2) {
    const { width, height, camera } = this.#frame;
    const [wide, high] = [right - left, bottom - top];
    // The buttons stand above, names below.
    const k = Math.max(ZOOM_LEAST, Math.min(most, (width - 48) / wide, (height - 100) / high));
    Object.assign(camera, { x: (left + right) / 2, y: (top + bottom) / 2 - 22 / k, k });
    this.ask();
  }

  /** Whoever stood elsewhere sets out from there. */
  #depart(old, scene) {
    if (!old || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    const pairs = (of) => [...scene[of]].map(([id, item]) => [item, old[of].get(id)]).filter(([, before]) => before);
    const travelling = [...pairs("groups"), ...pairs("nodes")]
      .filter(([item, before]) => Math.hypot(item.to.x - before.x, item.to.y - before.y) > 1 || item.to.r !== before.to.r);
    for (const [item, before] of travelling) item.from = { x: before.x, y: before.y, r: before.r };
    this.#moving = { items: travelling.map(([item]) => item), began: performance.now() };
    this.#step(this.#moving.began);
  }

  #step(now) {
    if (!this.#moving) return;
    const t = Math.min(1, Math.max(0, (now - this.#moving.began) / MOVE_MS));
    const ease = t * t * (3 - 2 * t);
    for (const item of this.#moving.items) {
      for (const of of ["x", "y", "r"]) if (item.to[of] != null) item[of] = item.from[of] + (item.to[of] - item.from[of]) * ease;
    }
    if (t < 1) this.ask();
    else this.#moving = null;
  }

  #point(event) {
    const { left, top } = this.#canvas.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }

  /** What is drawn at a point: a VM before a line before a circle. @returns {Item|null} */
  #at({ x, y }) {
    const frame = this.#frame;
    const near = (item, reach) => {
      const at = onScreen(item, frame);
      return Math.hypot(at.x - x, at.y - y) <= reach;
    };
    for (const node of frame.scene.nodes.values()) {
      if (isOpen(node.group, frame) && near(node, dotPx(frame.camera) + 4)) return { kind: "vm", id: node.vm.id, vm: node.vm };
    }
    for (const { edge, from, to } of this.#drawn?.lines ?? []) {
      if (distance({ x, y }, from, to) < 4) return { kind: "edge", pair: [edge.a.id, edge.b.id], edge };
    }
    for (const group of frame.scene.groups.values()) {
      if (near(group, Math.max(6, group.r * frame.camera.k))) return { kind: "group", id: group.id, group };
    }
    return null;
  }

  #down(event) {
    this.#canvas.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, this.#point(event));
    this.#dragged = 0;
  }

  #move(event) {
    const to = this.#point(event), from = this.#pointers.get(event.pointerId);
    if (!from) return this.#hover(this.#at(to));
    const others = [...this.#pointers].filter(([id]) => id !== event.pointerId);
    this.#pointers.set(event.pointerId, to);
    this.#dragged += Math.hypot(to.x - from.x, to.y - from.y);
    if (others.length === 0) this.#pan(from.x - to.x, from.y - to.y);
    else {
      const [, still] = others[0];
      const reach = (one) => Math.max(10, Math.hypot(one.x - still.x, one.y - still.y));
      this.zoom(reach(to) / reach(from), still.x, still.y);
    }
  }

  #up(event) {
    const clicked = event.type === "pointerup" && this.#pointers.size === 1 && this.#dragged < 5;
    this.#pointers.delete(event.pointerId);
    const item = clicked ? this.#at(this.#point(event)) : null;
    if (item) this.#on.open(item);
  }

  #leave() {
    this.#hover(null);
  }

  #hover(item) {
    const { selected } = this.#frame;
    const id = item?.id ?? null;
    this.#canvas.classList.toggle("over", item != null);
    if (selected.hover === id) return;
    selected.hover = id;
    this.ask();
  }

  #wheel(event) {
    event.preventDefault();
    const { x, y } = this.#point(event);
    this.zoom(Math.exp(-Math.max(-120, Math.min(120, event.deltaY)) * 0.0022), x, y);
  }

  #double(event) {
    const at = this.#point(event);
    this.zoom(1.8, at.x, at.y);
  }

  #pan(x, y) {
    const { camera } = this.#frame;
    camera.x += x / camera.k;
    camera.y += y / camera.k;
    this.#touched = true;
    this.ask();
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = ARROWS[event.key];
    if (arrow && event.shiftKey) this.#pan(80 * arrow[0], 80 * arrow[1]);
    else if (arrow) this.#walk(arrow);
    else if (event.key === "+" || event.key === "=") this.zoom(1.4);
    else if (event.key === "-") this.zoom(1 / 1.4);
    else if (event.key === "0") this.fit();
    else if (event.key === "Enter" && this.#frame.cursor) this.#on.open(this.#item(this.#frame.cursor));
    else return;
    event.preventDefault();
  }

  /** Everything the keyboard can reach: circles that are closed, VMs of those that are open. */
  #reachable() {
    const { scene } = this.#frame;
    const closed = [...scene.groups.values()].filter((group) => !isOpen(group, this.#frame));
    const open = [...scene.nodes.values()].filter(({ group }) => isOpen(group, this.#frame));
    return [...closed.map((group) => [group.id, group]), ...open.map((node) => [node.vm.id, node])];
  }

  #item(id) {
    const { scene } = this.#frame;
    const node = scene.nodes.get(id);
    return node ? { kind: "vm", id, vm: node.vm } : { kind: "group", id, group: scene.groups.get(id) };
  }

  /** To the nearest thing in that direction: twice as far aside counts as twice as far. */
  #walk([dx, dy]) {
    const frame = this.#frame;
    const from = frame.scene.nodes.get(frame.cursor) ?? frame.scene.groups.get(frame.cursor) ?? { ...frame.camera };
    let best = null, least = Infinity;
    for (const [id, item] of this.#reachable()) {
      const [x, y] = [item.to.x - from.x, item.to.y - from.y];
      const ahead = x * dx + y * dy;
      const cost = ahead + 2 * Math.abs(x * dy - y * dx);
      if (id !== frame.cursor && ahead > 1e-6 && cost < least) [best, least] = [id, cost];
    }
    if (!best) return;
    frame.cursor = best;
    const at = frame.scene.nodes.get(best) ?? frame.scene.groups.get(best);
    const { x, y } = onScreen(at, frame);
    if (x < 30 || y < 30 || x > frame.width - 30 || y > frame.height - 30) this.#pan(x - frame.width / 2, y - frame.height / 2);
    this.#on.say(spoken(this.#item(best)));
    this.ask();
  }
}

function spoken({ kind, vm, group }) {
  if (kind === "group") return `${group.kind} ${group.name}, ${many(group.nodes.length, "VM")}`;
  const where = vm.ensembles.length === 0 ? "in no ensemble" : `in ${vm.ensembles.slice(0, 5).join(", ")}`;
  return `VM ${vm.name}, ${where}, ${many(vm.degree, "dependency", "dependencies")}${vm.ignored ? ", ignored" : vm.idle ? ", idle" : ""}`;
}

function touched({ pairs }) {
  const ids = new Set();
  for (const { a, b } of pairs.values()) ids.add(a).add(b);
  return ids;
}

/** From a point to a stretch of line. */
function distance({ x, y }, a, b) {
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  const along = Math.max(0, Math.min(1, ((x - a.x) * dx + (y - a.y) * dy) / (dx * dx + dy * dy || 1)));
  return Math.hypot(x - a.x - along * dx, y - a.y - along * dy);
}
