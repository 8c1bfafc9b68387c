/**
 * What the page knows: VMs, ensembles and dependencies of one moment, and what of them passes the filters. Pure.
 */
import { byName } from "./format.js";

/** A dependency that is at least so sure is drawn as a solid line. */
export const SURE = 0.99;

/**
 * One moment.
 *
 * @typedef {object} Vm
 * @property {string} id
 * @property {string|null} host
 * @property {string[]} ensembles
 * @property {boolean} idle
 * @property {boolean} ignored somebody decided that it takes part in nothing
 * @property {number} degree dependencies
 *
 * @typedef {object} Edge
 * @property {Vm} a
 * @property {Vm} b
 * @property {number|null} strength
 * @property {number|null} confidence
 * @property {string|null} decided what somebody decided of it, if anything
 * @property {number} weight how strong, whichever sign: what is not known counts as half
 */

/** Makes a moment of what `/vms` and `/dependencies` list. Edges come strongest first. */
export function snapshot(vmItems, edgeItems, windowEndMs) {
  const vms = new Map();
  for (const { vm: id, name, host, ensembles, idle, ignored } of vmItems) {
    vms.set(id, { id, name: name || id, host, ensembles: ensembles ?? [], idle: Boolean(idle), ignored: Boolean(ignored), degree: 0 });
  }
  const edges = [];
  for (const item of edgeItems) {
    const [a, b] = [vms.get(item.a), vms.get(item.b)];
    if (!a || !b) continue;
    a.degree += 1;
    b.degree += 1;
    const { strength, confidence } = item;
    edges.push({ a, b, strength, confidence, lagMs: item.lag_ms, direct: item.direct, cause: item.cause,
      sinceMs: item.since_ms, decided: item.decided ?? null, weight: Math.abs(strength ?? 0.5) });
  }
  edges.sort((x, y) => y.weight - x.weight);
  return { windowEndMs, vms, edges, ensembles: ensemblesOf(vms, edges), hosts: hostsOf(vms) };
}

/** A shared VM belongs to several ensembles. */
export const isHub = (vm) => vm.ensembles.length > 1;

function ensemblesOf(vms, edges) {
  const ensembles = new Map();
  for (const vm of vms.values()) {
    for (const id of vm.ensembles) {
      if (!ensembles.has(id)) ensembles.set(id, { id, vms: [], hubs: [], hosts: new Set(), edges: 0 });
      const ensemble = ensembles.get(id);
      ensemble.vms.push(vm);
      if (isHub(vm)) ensemble.hubs.push(vm);
      if (vm.host != null) ensemble.hosts.add(vm.host);
    }
  }
  for (const { a, b } of edges) {
    for (const id of a.ensembles) if (b.ensembles.includes(id)) ensembles.get(id).edges += 1;
  }
  return new Map([...ensembles].sort(([a], [b]) => byName(a, b)));
}

function hostsOf(vms) {
  const hosts = new Set();
  for (const { host } of vms.values()) if (host != null) hosts.add(host);
  return [...hosts].sort(byName);
}

/** A pattern for names: part of it, or the whole if it has `*` or `?`. Upper and lower case are the same. */
export function pattern(text) {
  const wanted = text.trim().toLowerCase();
  if (!/[*?]/.test(wanted)) return (name) => name.toLowerCase().includes(wanted);
  const escaped = wanted.replace(/[.+^${}()|[\]\\]/g, "\\$&").replace(/\*+/g, ".*").replace(/\?/g, ".");
  const whole = new RegExp(`^${escaped}$`, "su");
  return (name) => whole.test(name.toLowerCase());
}

/**
 * What passes the route's filters: `vm(vm)`, `edge(edge)` and `ensemble(ensemble)` say yes or no; `narrows` is whether
 * VMs are filtered at all.
 */
export function filter(route) {
  const called = pattern(route.q);
  const narrows = route.q.trim() !== "" || route.host !== "";
  const matches = (vm) => (route.host === "" || vm.host === route.host) &&
    (called(vm.id) || called(vm.name) || vm.ensembles.includes(route.q.trim()));
  // Asked for every VM in every frame.
  const known = new Map();
  const vm = (vm) => {
    if (!known.has(vm)) known.set(vm, matches(vm));
    return known.get(vm);
  };
  const strong = (edge) => edge.weight >= route.strength && (edge.confidence ?? 1) >= route.confidence;
  return {
    narrows,
    vm: narrows ? vm : () => true,
    strong,
    edge: (edge) => strong(edge) && (!narrows || vm(edge.a) || vm(edge.b)),
    ensemble: (ensemble) => !narrows || ensemble.vms.some(vm),
  };
}

/** The key of a pair, whichever of the two is named first. */
export const pairKey = (a, b) => JSON.stringify(a < b ? [a, b] : [b, a]);

/** What the changes between two moments mean for the map: which VMs and pairs are new, gone or moved. */
export function differences(changes) {
  const vms = new Map(), pairs = new Map();
  for (const { change, vm, a, b } of changes) {
    if (change === "dependency_appeared") pairs.set(pairKey(a, b), { a, b, how: "new" });
    else if (change === "dependency_vanished") pairs.set(pairKey(a, b), { a, b, how: "gone" });
    else if (change === "appeared") vms.set(vm, "new");
    else if (change === "gone") vms.set(vm, "gone");
    else if (!vms.has(vm)) vms.set(vm, "moved");
  }
  return { vms, pairs, total: changes.length };
}
