/**
 * Draws the map, and says what it left out. What is far away is drawn closed: an ensemble as one circle and all
 * dependencies between two circles as one line. No interaction and no state here.
 */
import { count, label } from "./format.js";
import { SPACING } from "./layout.js";
import { pairKey, SURE } from "./model.js";

/** A circle whose radius is smaller than so many pixels is drawn closed. */
const OPEN_PX = 20;
/** Lines drawn at once: more cannot be told apart, and would cost more than a frame (30 a second). */
const MOST_EDGES = 6000;
/** The same for lines from circle to circle, which cross. */
const MOST_LINKS = 400;
/** Names drawn at once: text is the slowest thing on a canvas. */
const MOST_NAMES = 260;
const HOST_COLOURS = 8;

/** Whether the VMs of a circle are drawn one by one. */
export const isOpen = (group, frame) =>
  group.kind === "hub" || group.kind === "alone" || (group.r * frame.camera.k >= OPEN_PX && !frame.closed.has(group.id));

/**
 * Draws one frame.
 *
 * @param {CanvasRenderingContext2D} ctx
 * @param {object} frame `{width, height, camera, scene, edges, links, ink, closed, passes, diff, selected, cursor, hosts, rejected}`
 * @returns {object} what was drawn: `{vms, circles, edges, lines, outside, closed, cut, cutAcross, links, cutLinks}`
 */
export function draw(ctx, frame) {
  const { width, height, ink } = frame;
  ctx.fillStyle = ink.ground;
  ctx.fillRect(0, 0, width, height);
  const on = (group) => isOn(group, frame);
  const groups = [...frame.scene.groups.values()].filter(on);
  const drawn = { circles: 0, vms: 0, edges: 0, lines: [], outside: 0, closed: 0, cut: 0, cutAcross: 0, links: 0, cutLinks: 0, names: 0, marks: [] };
  shares(ctx, groups, frame);
  drawLinks(ctx, frame, drawn);
  for (const group of groups) if (group.kind !== "hub") circle(ctx, group, frame, drawn);
  drawEdges(ctx, frame, drawn);
  decisions(ctx, frame, drawn);
  dots(ctx, frame, drawn);
  names(ctx, groups, frame, drawn);
  return drawn;
}

/** How wide a name under a VM may be, in units of the plane, before it meets the next one. */
const room = ({ kind, nodes: { length: n } }) => SPACING * (kind === "hub" || n === 2 ? 2.4 : n <= 6 ? 1.9 : n <= 12 ? 1.4 : 1);

/** Where a point of the plane is on the screen. */
export const onScreen = ({ x, y }, { width, height, camera }) =>
  ({ x: (x - camera.x) * camera.k + width / 2, y: (y - camera.y) * camera.k + height / 2 });

function isOn(item, frame, more = 0) {
  const { x, y } = onScreen(item, frame);
  const r = (item.r ?? 12) * frame.camera.k + more;
  return x > -r && y > -r && x < frame.width + r && y < frame.height + r;
}

/** Bands from a shared VM to the ensembles that share it. */
function shares(ctx, groups, frame) {
  const { camera, ink } = frame;
  const hubs = new Set(groups.flatMap((group) => (group.kind === "hub" ? [group] : group.shares)));
  ctx.strokeStyle = ink.band;
  ctx.lineWidth = Math.max(2, 16 * camera.k);
  ctx.lineCap = "round";
  ctx.beginPath();
  for (const hub of hubs) {
    if (hub.kind !== "hub") continue;
    const from = onScreen(hub, frame);
    for (const ensemble of hub.shares) {
      const to = onScreen(ensemble, frame);
      ctx.moveTo(from.x, from.y);
      ctx.lineTo(to.x, to.y);
    }
  }
  ctx.stroke();
}

function circle(ctx, group, frame, drawn) {
  const { ink, camera, selected } = frame;
  const { x, y } = onScreen(group, frame);
  const r = Math.max(2.5, group.r * camera.k);
  const open = isOpen(group, frame);
  const { matching } = group;
  ctx.globalAlpha = matching > 0 || !frame.narrows ? 1 : 0.25;
  ctx.beginPath();
  ctx.arc(x, y, r, 0, 2 * Math.PI);
  ctx.fillStyle = open ? ink.circle : ink.closed;
  ctx.fill();
  ctx.lineWidth = selected.group === group.id ? 2.5 : 1;
  ctx.strokeStyle = selected.group === group.id ? ink.accent : ink.rim;
  ctx.stroke();
  if (!open && frame.diff) markCircle(ctx, group, { x, y, r }, frame);
  if (!open && r > 9) {
    ctx.fillStyle = ink.text;
    ctx.font = `600 ${Math.min(14, r)}px ${ink.font}`;
    ctx.textAlign = "center";
    ctx.textBaseline = "middle";
    ctx.fillText(String(frame.narrows ? matching : group.nodes.length), x, y);
  }
  ctx.globalAlpha = 1;
  drawn.circles += 1;
}

/** A closed circle with something new in it. */
function markCircle(ctx, group, { x, y, r }, { diff, ink }) {
  const changed = group.nodes.filter((node) => diff.vms.has(node.vm.id) || diff.touched.has(node.vm.id)).length;
  if (changed === 0) return;
  ctx.beginPath();
  ctx.arc(x, y, r + 3, 0, 2 * Math.PI);
  ctx.lineWidth = 2.5;
  ctx.strokeStyle = ink.moved;
  ctx.stroke();
}

function drawLinks(ctx, frame, drawn) {
  const { ink, selected } = frame;
  const wanted = frame.links.filter(({ a, b }) =>
    !(isOpen(a, frame) && isOpen(b, frame)) && (isOn(a, frame) || isOn(b, frame)));
  const touches = ({ a, b }) => [a.id, b.id].some((id) => id === selected.group || id === selected.hover);
  const shown = wanted.length > MOST_LINKS ? wanted.filter(touches).slice(0, MOST_LINKS) : wanted;
  for (const link of shown) {
    const [from, to] = [onScreen(link.a, frame), onScreen(link.b, frame)];
    ctx.beginPath();
    ctx.moveTo(from.x, from.y);
    ctx.lineTo(to.x, to.y);
    ctx.lineWidth = 1 + Math.min(5, Math.log2(link.count));
    ctx.strokeStyle = link.negative * 2 > link.count ? ink.negative : ink.positive;
    ctx.globalAlpha = touches(link) ? 0.9 : 0.45;
    ctx.setLineDash(link.confidence >= SURE ? [] : [6, 5]);
    ctx.stroke();
  }
  ctx.setLineDash([]);
  ctx.globalAlpha = 1;
  drawn.links = shown.length;
  drawn.cutLinks = wanted.length - shown.length;
}

/** The edges that are drawn one by one; counts the others. Edges come strongest first. */
function choose(frame, drawn) {
  const { scene, selected } = frame;
  const inside = [], across = [];
  for (const edge of frame.edges) {
    const [a, b] = [scene.nodes.get(edge.a.id), scene.nodes.get(edge.b.id)];
    if (!isOpen(a.group, frame) || !isOpen(b.group, frame)) drawn.closed += 1;
    else if (!isOn(a, frame) && !isOn(b, frame)) drawn.outside += 1;
    else if (a.group === b.group || a.group.kind === "hub" || b.group.kind === "hub") inside.push({ edge, a, b });
    else across.push({ edge, a, b });
  }
  const looked = new Set([selected.vm, selected.hover, selected.group, ...(selected.pair ?? [])]);
  const touches = ({ a, b }) => [a.vm.id, b.vm.id, a.group.id, b.group.id].some((id) => looked.has(id));
  const shown = across.length > MOST_LINKS ? across.filter(touches).slice(0, MOST_LINKS) : across;
  drawn.cutAcross = across.length - shown.length;
  drawn.cut = Math.max(0, inside.length - MOST_EDGES);
  return [...shown, ...inside.slice(0, MOST_EDGES)];
}

/** Edges of one look are one path: 6,000 single strokes would take longer than a frame. */
function drawEdges(ctx, frame, drawn) {
  const { selected, diff, ink, camera } = frame;
  const looks = new Map();
  const thick = Math.min(1.6, Math.max(0.45, camera.k));
  for (const { edge, a, b } of choose(frame, drawn)) {
    const [from, to] = [onScreen(a, frame), onScreen(b, frame)];
    drawn.lines.push({ edge, from, to });
    if (edge.decided) drawn.marks.push({ pair: [edge.a.id, edge.b.id], decided: edge.decided, from, to });
    const fresh = diff?.pairs.get(pairKey(edge.a.id, edge.b.id))?.how === "new";
    const colour = fresh ? ink.fresh : edge.strength < 0 ? ink.negative : ink.positive;
    const width = (fresh ? 2 : 0.8) + Math.round(edge.weight * 4) * 0.9;
    const alpha = isFaded(edge, selected) ? 0.12 : diff && !fresh ? 0.35 : 0.8;
    stroke(looks, { colour, width: width * thick, dash: (edge.confidence ?? 1) < SURE, alpha }, from, to);
  }
  drawn.edges = drawn.lines.length;
  vanished(looks, frame);
  refused(looks, frame, drawn);
  for (const { look, path } of looks.values()) {
    ctx.globalAlpha = look.alpha;
    ctx.strokeStyle = look.colour;
    ctx.lineWidth = look.width;
    ctx.setLineDash(look.dash ? [5, 4] : []);
    ctx.lineCap = look.dash ? "butt" : "round";
    ctx.stroke(path);
  }
  ctx.setLineDash([]);
  ctx.globalAlpha = 1;
}

/** What somebody rejected: it is not held, and that is to be seen. */
function refused(looks, frame, drawn) {
  const { scene, ink } = frame;
  for (const [a, b] of frame.rejected) {
    const [one, other] = [scene.nodes.get(a), scene.nodes.get(b)];
    if (!one || !other || !isOpen(one.group, frame) || !isOpen(other.group, frame)) continue;
    const [from, to] = [onScreen(one, frame), onScreen(other, frame)];
    stroke(looks, { colour: ink.muted, width: 1, dash: true, alpha: 0.7 }, from, to);
    drawn.marks.push({ pair: [a, b], decided: "rejected", from, to });
  }
}

/** What people decided of pairs, as a sign in the middle of their line: colours alone are not for everybody. */
function decisions(ctx, { ink, camera }, { marks }) {
  const r = Math.min(7, Math.max(3, 6 * camera.k));
  for (const { decided, from, to } of marks) {
    const [x, y] = [(from.x + to.x) / 2, (from.y + to.y) / 2];
    ctx.beginPath();
    ctx.arc(x, y, r, 0, 2 * Math.PI);
    ctx.fillStyle = decided === "confirmed" ? ink.accent : ink.muted;
    ctx.fill();
    ctx.beginPath();
    const line = (...points) => points.forEach(([u, v], i) => (i === 0 ? ctx.moveTo(x + u * r, y + v * r) : ctx.lineTo(x + u * r, y + v * r)));
    if (decided === "confirmed") line([-0.5, 0.05], [-0.1, 0.45], [0.5, -0.4]);
    else line([-0.4, -0.4], [0.4, 0.4]), line([0.4, -0.4], [-0.4, 0.4]);
    ctx.lineWidth = Math.max(1.2, r / 4);
    ctx.strokeStyle = ink.ground;
    ctx.stroke();
  }
}

/** What is no longer there, between VMs that still are. */
function vanished(looks, frame) {
  const { scene, diff, ink } = frame;
  for (const { a, b, how } of diff?.pairs.values() ?? []) {
    const [one, other] = [scene.nodes.get(a), scene.nodes.get(b)];
    if (how !== "gone" || !one || !other || !isOpen(one.group, frame) || !isOpen(other.group, frame)) continue;
    stroke(looks, { colour: ink.gone, width: 2.5, dash: true, alpha: 1 }, onScreen(one, frame), onScreen(other, frame));
  }
}

/** Who is looked at is not to be lost among the others. */
function isFaded({ a, b }, { vm, pair }) {
  if (pair) return !(pair.includes(a.id) && pair.includes(b.id));
  return vm != null && vm !== a.id && vm !== b.id;
}

function stroke(looks, look, from, to) {
  const key = `${look.colour} ${look.width} ${look.dash} ${look.alpha}`;
  if (!looks.has(key)) looks.set(key, { look, path: new Path2D() });
  const { path } = looks.get(key);
  path.moveTo(from.x, from.y);
  path.lineTo(to.x, to.y);
}

/** How large a VM is drawn, in pixels. */
export const dotPx = (camera) => Math.min(11, Math.max(1.6, 8 * camera.k));

function dots(ctx, frame, drawn) {
  const { scene, selected, cursor, ink, camera } = frame;
  const size = dotPx(camera);
  for (const node of scene.nodes.values()) {
    if (!isOpen(node.group, frame) || !isOn(node, frame)) continue;
    const { x, y } = onScreen(node, frame);
    const { vm } = node;
    const hub = node.group.kind === "hub";
    drawn.vms += 1;
    ctx.globalAlpha = frame.passes(vm) ? 1 : 0.18;
    ctx.fillStyle = frame.hosts ? ink.hosts[frame.hosts.get(vm.host) % HOST_COLOURS] ?? ink.dot : ink.dot;
    ctx.beginPath();
    ctx.arc(x, y, hub ? size * 1.35 : size, 0, 2 * Math.PI);
    if (vm.idle || vm.ignored) {
      ctx.lineWidth = Math.max(1, size / 4);
      ctx.strokeStyle = ctx.fillStyle;
      ctx.stroke();
    } else ctx.fill();
    if (vm.ignored) through(ctx, { x, y }, size);
    if (hub) ring(ctx, { x, y }, size * 1.35 + 3, ink.text, 1.5);
    if (frame.diff?.vms.has(vm.id)) mark(ctx, { x, y }, size, frame.diff.vms.get(vm.id), ink);
    if (selected.vm === vm.id || selected.pair?.includes(vm.id)) ring(ctx, { x, y }, size + 5, ink.accent, 3);
    else if (cursor === vm.id) ring(ctx, { x, y }, size + 5, ink.accent, 1.5);
  }
  ctx.globalAlpha = 1;
}

/** Somebody who is ignored is crossed out. */
function through(ctx, { x, y }, size) {
  ctx.beginPath();
  ctx.moveTo(x - size, y + size);
  ctx.lineTo(x + size, y - size);
  ctx.stroke();
}

function ring(ctx, { x, y }, r, colour, width) {
  ctx.beginPath();
  ctx.arc(x, y, r, 0, 2 * Math.PI);
  ctx.lineWidth = width;
  ctx.strokeStyle = colour;
  ctx.stroke();
}

/** What happened to a VM, in a colour and in a sign: colours alone are not for everybody. */
function mark(ctx, { x, y }, size, how, ink) {
  const colour = how === "new" ? ink.fresh : how === "gone" ? ink.gone : ink.moved;
  ring(ctx, { x, y }, size + 3, colour, 2.5);
  if (size < 5) return;
  ctx.font = `700 ${size * 1.8}px ${ink.font}`;
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  ctx.fillStyle = ink.ground;
  ctx.fillText(how === "new" ? "+" : "→", x, y + 0.5);
}

function names(ctx, groups, frame, drawn) {
  const { ink, camera, selected, cursor } = frame;
  ctx.textAlign = "center";
  ctx.direction = "ltr";
  const text = (name, most, x, y, strong) => {
    if (drawn.names >= MOST_NAMES && !strong) return;
    drawn.names += 1;
    ctx.lineWidth = 3;
    ctx.strokeStyle = ink.ground;
    const said = label(name, most);
    ctx.strokeText(said, x, y);
    ctx.fillText(said, x, y);
  };
  ctx.lineJoin = "round";
  ctx.textBaseline = "bottom";
  ctx.font = `600 12px ${ink.font}`;
  ctx.fillStyle = ink.muted;
  for (const group of groups) {
    const strong = group.id === selected.group || group.id === selected.hover || group.id === cursor;
    const r = group.r * camera.k;
    if (group.kind === "hub" || (r < 17 && !strong)) continue;
    const { x, y } = onScreen(group, frame);
    text(group.name, strong ? 40 : Math.max(4, Math.floor(r / 3)), x, y - r - 2, strong);
  }
  const { alone } = frame.scene;
  if (alone && camera.k > 0.02) {
    const { x, y } = onScreen(alone, frame);
    text(`${frame.grouping === "host" ? "host not known" : "in no ensemble"}: ${count(alone.count)}`, 40, Math.max(80, x), y, true);
  }
  ctx.textBaseline = "top";
  ctx.font = `11.5px ${ink.font}`;
  ctx.fillStyle = ink.text;
  for (const node of frame.scene.nodes.values()) {
    const { vm, group } = node;
    const strong = [cursor, selected.vm, selected.hover].includes(vm.id) || Boolean(selected.pair?.includes(vm.id));
    const wide = camera.k >= 0.65 || (group.kind === "hub" && camera.k > 0.45);
    if (!(strong || wide) || !isOpen(group, frame) || !isOn(node, frame) || !frame.passes(vm)) continue;
    const { x, y } = onScreen(node, frame);
    text(vm.name, strong ? 40 : Math.max(5, Math.floor((room(group) * camera.k) / 6.8)), x, y + dotPx(camera) + 4, strong);
  }
}
