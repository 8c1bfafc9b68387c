/**
 * Events and changes in words: what happened to whom. Pure but for the elements it makes.
 */
import { ensembleLink, h, pairLink, named, vmLink } from "./dom.js";
import { clock } from "./format.js";

/** How the map and the lists sign a kind of change, and what they call it. */
const KINDS = {
  "vm.appeared": ["new", "+", "appeared"], "vm.gone": ["gone", "−", "is gone"],
  "vm.idle": ["moved", "·", "is idle"], "vm.active": ["moved", "·", "works again"],
  "vm.ignored": ["moved", "×", "is ignored: somebody decided so"], "vm.considered": ["moved", "·", "is no longer ignored"],
  "ensemble.joined": ["moved", "→", "joined"], "ensemble.left": ["moved", "←", "left"],
  "dependency.appeared": ["new", "+", "depend on each other"], "dependency.vanished": ["gone", "−", "no longer depend on each other"],
};

/**
 * Whether an event is worth a line. That a dependency got a little stronger is not: it happens in every window, and the
 * map shows it; that a window is complete is not news either.
 */
export const isNews = ({ type }) => type !== "lwt.dependency.changed" && type !== "lwt.window.completed";

/** A change (of `/changes`) as the kind of an event. */
const AS_EVENT = { appeared: "vm.appeared", gone: "vm.gone", idle: "vm.idle", active: "vm.active", ignored: "vm.ignored",
  considered: "vm.considered", joined: "ensemble.joined",
  left: "ensemble.left", dependency_appeared: "dependency.appeared", dependency_vanished: "dependency.vanished" };

function said(kind, { vm, ensemble, a, b }) {
  const [look, sign, verb] = KINDS[kind] ?? ["moved", "?", kind];
  const whom = a == null ? (vm == null ? null : vmLink(vm)) : pairLink(a, b, named(a), " and ", named(b));
  return [h("span", { class: `sign ${look}`, "aria-hidden": "true" }, sign), whom, ` ${verb} `, ensemble != null && ensembleLink(ensemble)];
}

/** An event of the stream, with its time. */
export const sentence = ({ type, data }) =>
  [h("time", { class: "muted" }, clock(data.window_end_ms)), " ", said(type.replace(/^lwt\./, ""), data)];

/** A change between two moments. */
export const changed = (change) => said(AS_EVENT[change.change] ?? change.change, change);
