/**
 * Every view has a link: the route is written in the part of the address after `#`, as `key=value` pairs. Pure but for
 * the two functions at the end that touch the address.
 */

/** What the page shows unless the address says otherwise. `at: null` is now; `since: null`: no changes are shown. */
export const DEFAULTS = Object.freeze({
  view: "map", vm: null, ensemble: null, pair: null, q: "", host: "", strength: 0, confidence: 0,
  group: "ensemble", colour: "plain", at: null, since: null,
});

const ONE_OF = { view: ["map", "ensembles", "vms", "dependencies", "changes", "events", "decisions", "placement"], group: ["ensemble", "host"],
  colour: ["plain", "host"] };
const RELATIVE = /^(previous|first|-\d+)$/;

const share = (text) => Math.min(1, Math.max(0, Number(text) || 0));
const moment = (text) => (/^-?\d{1,15}$/.test(text) ? Number(text) : null);

/** "#view=vms&q=web" -> a whole route; what makes no sense is as if it were not there. */
export function parse(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const route = { ...DEFAULTS };
  for (const [key, value] of given) {
    if (Object.hasOwn(ONE_OF, key)) route[key] = ONE_OF[key].includes(value) ? value : DEFAULTS[key];
    else if (key === "strength" || key === "confidence") route[key] = share(value);
    else if (key === "at") route.at = moment(value);
    else if (key === "since") route.since = RELATIVE.test(value) ? value : moment(value);
    else if (Object.hasOwn(DEFAULTS, key) && key !== "pair") route[key] = value;
  }
  const pair = given.getAll("pair");
  route.pair = pair.length === 2 ? pair : null;
  return route;
}

/** A route -> "#…", with only what differs from the defaults. */
export function format(route) {
  const said = new URLSearchParams();
  for (const [key, value] of Object.entries(route)) {
    if (value === DEFAULTS[key] || value == null) continue;
    for (const one of [value].flat()) said.append(key, one);
  }
  return `#${said}`;
}

/** The current route. */
export const current = () => parse(location.hash);

/** The address of the current route with `change` made to it. */
export const href = (change) => format({ ...current(), ...change });

/** Goes there; `quietly` leaves no step in the history (sliders, typing). */
export function go(change, quietly = false) {
  const to = href(change);
  if (to === (location.hash || "#")) return;
  history[quietly ? "replaceState" : "pushState"](null, "", to);
  dispatchEvent(new HashChangeEvent("hashchange"));
}
