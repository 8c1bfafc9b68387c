/**
 * What the map is made of: a moment of the datacenter, given places. Pure.
 *
 * @typedef {object} Node one VM
 * @property {import("./model.js").Vm} vm
 * @property {number} x where it is drawn now; `to` is where it goes
 * @property {Group} group the circle it stands in; a hub or a VM in no ensemble is one by itself
 *
 * @typedef {object} Group a circle
 * @property {"ensemble"|"host"|"hub"|"alone"} kind
 * @property {Node[]} nodes
 */
import { byName } from "./format.js";
import { Places, Rows, radius, seat } from "./layout.js";
import { isHub } from "./model.js";

/** Remembers places, for each way of grouping, from moment to moment. */
export class Memory {
  #by = { ensemble: [new Places(), new Rows()], host: [new Places(), new Rows()] };

  of(grouping) {
    return this.#by[grouping];
  }
}

/** Which circle a VM stands in: its kind and name; none if it stands alone. */
function circleOf(vm, grouping) {
  if (grouping === "host") return vm.host == null ? null : ["host", vm.host];
  if (isHub(vm)) return ["hub", vm.id];
  return vm.ensembles.length === 1 ? ["ensemble", vm.ensembles[0]] : null;
}

/**
 * Gives everything a place: `{groups: Map, nodes: Map}`, where an ensemble that holds only hubs has a circle too. On a
 * `tall` screen the plane is turned over, so that it grows downwards.
 */
export function build(snapshot, grouping, memory, tall) {
  const groups = new Map(), alone = [];
  const group = (kind, name) => {
    const id = `${kind}:${name}`;
    if (!groups.has(id)) groups.set(id, { id, kind, name, nodes: [], shares: [] });
    return groups.get(id);
  };
  if (grouping === "ensemble") for (const name of snapshot.ensembles.keys()) group("ensemble", name);
  for (const vm of snapshot.vms.values()) {
    const circle = circleOf(vm, grouping);
    if (circle) group(...circle).nodes.push({ vm });
    else alone.push(vm);
  }
  for (const hub of groups.values()) {
    if (hub.kind !== "hub") continue;
    hub.shares = hub.nodes[0].vm.ensembles.map((name) => groups.get(`ensemble:${name}`));
    for (const ensemble of hub.shares) ensemble.shares.push(hub);
  }
  const turned = (at) => (tall ? { ...at, x: at.y, y: at.x } : at);
  stand(groups, memory.of(grouping)[0], turned);
  const nodes = new Map();
  for (const { nodes: members } of groups.values()) for (const node of members) nodes.set(node.vm.id, node);
  const rows = new Map([...memory.of(grouping)[1].place(alone.map(({ id }) => id))].map(([id, at]) => [id, turned(at)]));
  for (const vm of alone) {
    const at = rows.get(vm.id);
    const group = { id: `alone:${vm.id}`, kind: "alone", name: vm.id, r: 10, to: { ...at, r: 10 }, ...at, shares: [] };
    const node = { vm, group, ...at, to: at };
    group.nodes = [node];
    nodes.set(vm.id, node);
  }
  return { groups, nodes, alone: sign(rows) };
}

/** Where to say that they are in no ensemble: above the middle of their rows. */
function sign(rows) {
  if (rows.size === 0) return null;
  const [xs, ys] = ["x", "y"].map((of) => [...rows.values()].map((at) => at[of]));
  const least = (of) => of.reduce((a, b) => Math.min(a, b));
  return { x: (least(xs) - least(xs.map((x) => -x))) / 2, y: least(ys) - 26, count: rows.size };
}

function stand(groups, places, turned) {
  const wanted = [...groups.values()].map(({ id, nodes, shares }) =>
    ({ id, size: nodes.length, near: shares.map((other) => other.id) }));
  const at = places.place(wanted);
  for (const group of groups.values()) {
    Object.assign(group, turned(at.get(group.id)));
    group.to = { x: group.x, y: group.y, r: group.r };
    group.nodes.sort((a, b) => byName(a.vm.id, b.vm.id));
    group.nodes.forEach((node, k) => {
      const { x, y } = seat(k, group.nodes.length);
      Object.assign(node, { group, x: group.x + x, y: group.y + y });
      node.to = { x: node.x, y: node.y };
    });
  }
}

/** All edges between two circles as one line: `[{a, b, count, weight, negative, sure}]`, the strongest first. */
export function links(scene, edges) {
  const found = new Map();
  for (const edge of edges) {
    const [a, b] = [scene.nodes.get(edge.a.id).group, scene.nodes.get(edge.b.id).group];
    if (a === b) continue;
    const key = a.id < b.id ? `${a.id}\n${b.id}` : `${b.id}\n${a.id}`;
    const link = found.get(key) ?? { a, b, count: 0, weight: 0, negative: 0, confidence: 0 };
    link.count += 1;
    link.weight = Math.max(link.weight, edge.weight);
    link.confidence = Math.max(link.confidence, edge.confidence ?? (edge.decided ? 1 : 0));
    if (edge.strength < 0) link.negative += 1;
    found.set(key, link);
  }
  return [...found.values()].sort((x, y) => y.weight - x.weight);
}

const everything = ({ groups, nodes, alone }) => [...groups.values(), ...[...nodes.values()].map(({ group }) => group),
  ...(alone ? [{ to: alone, r: 16 }] : [])];

/** The smallest box around `items` (all of the scene if none are given). */
export function box(scene, items = everything(scene)) {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const { to, r = radius(1) } of items) {
    const far = to.r ?? r;
    [left, right] = [Math.min(left, to.x - far), Math.max(right, to.x + far)];
    [top, bottom] = [Math.min(top, to.y - far), Math.max(bottom, to.y + far)];
  }
  return left === Infinity ? { left: -100, top: -100, right: 100, bottom: 100 } : { left, top, right, bottom };
}
