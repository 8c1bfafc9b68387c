/**
 * The only place that makes elements. Text becomes text nodes, never markup: names of VMs are hostile input.
 */
import { visible } from "./format.js";
import { href } from "./route.js";

/**
 * An element: `h("a", {href: "#", class: "x", onclick: f, "aria-label": "…"}, child, …)`. Children are strings, nodes,
 * arrays of them, or null (left out).
 */
export const h = (tag, props = {}, ...children) => fill(document.createElement(tag), props, children);

/** The same, of SVG. */
export const s = (tag, props = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), props, children);

function fill(element, props, children) {
  for (const [key, value] of Object.entries(props)) {
    if (value == null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.flat(3).filter((child) => child != null && child !== false));
  return element;
}

/** A name as others gave it: isolated from the text around it, cut by the style sheet, whole in the tooltip. */
export const named = (name) => h("bdi", { class: "name", title: visible(name) }, visible(name));

/** A link to a view of this page. `change` is what differs from the current route. */
export const link = (change, ...children) => h("a", { href: href(change) }, ...children);

export const vmLink = (id) => link({ vm: id, ensemble: null, pair: null }, named(id));
export const ensembleLink = (id) => link({ ensemble: id, vm: null, pair: null }, named(id));
export const pairLink = (a, b, ...children) => link({ pair: [a, b], vm: null, ensemble: null }, ...children);

/** Replaces what `element` holds. Whoever uses the keyboard stays at the same link or button, if it is still there. */
export function show(element, ...children) {
  const active = element.contains(document.activeElement) ? keyOf(document.activeElement) : null;
  element.replaceChildren(...children.flat(3).filter((child) => child != null && child !== false));
  if (active == null) return;
  const again = [...element.querySelectorAll("a, button, input, [tabindex]")].find((one) => keyOf(one) === active);
  again?.focus({ preventScroll: true });
}

const keyOf = (element) => element.id || element.getAttribute("href") || element.getAttribute("aria-label") || element.dataset.key || element.textContent;

export const $ = (id) => document.getElementById(id);
