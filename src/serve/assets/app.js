/**
 * Puts the page together: the address says what to show, the server has it, the stream says when to ask again.
 */
import * as api from "./api.js";
import { book } from "./decide.js";
import { $, h, link, show } from "./dom.js";
import { isNews } from "./events.js";
import { count, many, span, time, visible } from "./format.js";
import * as lists from "./lists.js";
import { MapView } from "./map.js";
import { differences, filter, snapshot } from "./model.js";
import { panel } from "./panel.js";
import { current, DEFAULTS, go } from "./route.js";
import { Timeline } from "./timeline.js";

/** Events kept: as many as one reads back through. */
const EVENTS = 500;
/** VMs and dependencies of past moments kept in memory, together: some 100 MB. */
const KEPT = 200_000;
/** While no window is complete, or the server is away, it is asked so often. */
const ASK_AGAIN_MS = 2000;
/** So many windows that did not come make the page stale. */
const STALE_WINDOWS = 3;

const state = {
  status: null, windows: [], shown: null, changes: null, events: [], forgotten: 0, stream: "connecting", retryAt: 0,
  error: null, kept: new Map(), heard: 0, every: null, pending: 0, map: null, timeline: null, paintedMs: null,
  revealed: false, book: book([]), names: new Map(), decided: null, hints: null, afterToken: null,
};

/** Which load is the latest: an answer to an older question is not shown. */
let turn = 0;

/** Fetches one moment: the last one (null), or the window that ended by `at`. */
async function moment(at) {
  if (at != null && state.kept.has(at)) return state.kept.get(at);
  for (let tries = 0; ; tries += 1) {
    const [vms, edges] = await Promise.all([api.list("vms", { at }), api.list("dependencies", { at })]);
    // A window may have been completed between the two answers.
    if (vms.windowEndMs !== edges.windowEndMs && tries < 3) continue;
    const fetched = snapshot(vms.items, edges.items, vms.windowEndMs);
    keep(at, fetched);
    return fetched;
  }
}

function keep(at, fetched) {
  if (at == null) return;
  state.kept.set(at, fetched);
  const size = () => [...state.kept.values()].reduce((sum, one) => sum + one.vms.size + one.edges.length, 0);
  while (state.kept.size > 1 && size() > KEPT) state.kept.delete(state.kept.keys().next().value);
}

/** Loads what the address asks for, and shows it. What can be asked for at once is. */
async function load() {
  const mine = (turn += 1);
  const { at } = current();
  const status = api.get("status");
  const windows = state.windows.length > 0 ? state.windows : api.list("windows").then(({ items }) => items);
  const wanted = moment(at);
  // Which of these fails is looked at below, in this order.
  for (const one of [windows, wanted]) Promise.resolve(one).catch(() => {});
  try {
    state.status = await status;
    if (mine !== turn) return;
    if (state.status.window_end_ms == null) return waiting();
    state.windows = await windows;
    const shown = await wanted;
    const fromMs = state.timeline.since(state.windows);
    const changes = fromMs == null ? null : (await api.list("changes", { from: fromMs, to: shown.windowEndMs })).items;
    if (mine !== turn) return;
    if (state.shown == null) await recall();
    Object.assign(state, { shown, changes, fromMs, error: null });
  } catch (error) {
    if (mine !== turn) return;
    failed(error);
  }
  render();
}

/** What happened shortly before the page was opened: the last windows, as far back as so many events are kept. */
async function recall() {
  let first = state.windows.length - 1;
  for (let sum = 0; first > 0 && (sum += state.windows[first].changes) < EVENTS; ) first -= 1;
  const { items } = await api.get("events", { since: state.windows[first].window_end_ms, limit: 4 * EVENTS });
  const older = items.filter(isNews).reverse();
  const known = new Set(state.events.map(({ id }) => id));
  state.events.push(...older.filter(({ id }) => !known.has(id)));
  state.forgotten += Math.max(0, state.events.length - EVENTS);
  state.events.length = Math.min(state.events.length, EVENTS);
}

/** What people decided, as it stands now. */
async function decisions() {
  try {
    state.book = book((await api.list("decisions")).items);
    for (const { ensemble, name } of state.book.items) if (name != null) state.names.set(name, ensemble);
  } catch (error) {
    // Whoever loads the rest says so.
    console.warn(error.message);
    return;
  }
  if (state.shown) render();
}

/** The hints for the moment that is shown, once they are here. */
function hints() {
  const at = current().at, moment = state.shown;
  if (state.hints?.moment === moment) return state.hints.found;
  const asked = { moment, found: state.hints?.found ?? null };
  state.hints = asked;
  Promise.all(["placement/apart", "placement/needed"].map((what) => api.list(what, { at }))).then(([apart, needed]) => {
    asked.found = { apart: apart.items, needed: needed.items };
    if (state.hints === asked && current().view === "placement") render();
  }).catch((error) => {
    failed(error);
    render();
  });
  return asked.found;
}

function waiting() {
  state.shown = null;
  state.error = null;
  render();
  setTimeout(load, ASK_AGAIN_MS);
}

function failed(error) {
  if (error.status === 401) return ask(null);
  state.error = error.status === undefined ? `The page made a mistake: ${error.message}` : error.message;
  if (error.status === undefined) console.error(error);
  if (error.status === 0) setTimeout(load, ASK_AGAIN_MS);
}

/** Asks for a token: that of whoever looks, or, if something is to be done `again` with it, of who decides. */
function ask(again) {
  if ($("token").open) return;
  state.afterToken = again;
  show($("token-title"), again ? "A token that may decide, please" : "A token, please");
  show($("token-why"), again ? "To decide something takes a token of its own." : "This server answers only to those who know its token.",
    " It is kept until this tab is closed.");
  $("token-value").value = "";
  $("token").showModal();
}

/** Windows may be completed faster than they can be loaded: one load at a time, then the latest. */
let loading = false, again = false;
async function refresh() {
  if (loading) return void (again = true);
  [loading, again] = [true, false];
  const began = performance.now();
  await load();
  // At most a third of the time is spent loading, so that the page stays smooth.
  await new Promise((done) => setTimeout(done, 2 * (performance.now() - began)));
  loading = false;
  if (again) refresh();
}

function heard(name, data) {
  state.heard = performance.now();
  if (name === "lost") return reload();
  if (name === "decided") {
    // Of many at once, as when a server starts, the last one is enough.
    clearTimeout(state.decided);
    state.decided = setTimeout(decisions, 200);
    return;
  }
  const event = JSON.parse(data);
  if (event.type !== "lwt.window.completed") {
    state.pending += 1;
    if (!isNews(event)) return;
    state.events.unshift(event);
    state.forgotten += Math.max(0, state.events.length - EVENTS);
    state.events.length = Math.min(state.events.length, EVENTS);
    return;
  }
  const now = performance.now();
  if (state.completed != null) state.every = Math.max(now - state.completed, (state.every ?? 0) * 0.8);
  state.completed = now;
  if (state.windows.at(-1)?.window_end_ms < event.data.window_end_ms) state.windows.push({ window_end_ms: event.data.window_end_ms, changes: state.pending });
  state.pending = 0;
  if (current().at == null) refresh();
  else state.timeline.update(state.windows);
}

/** All anew: something was missed. */
function reload() {
  Object.assign(state, { windows: [], pending: 0 });
  state.kept.clear();
  refresh();
  decisions();
}

/** What the pill at the top says: `[look, words]`. */
function pulse() {
  const { status, stream, error, shown } = state;
  if (stream === "closed" || error != null) {
    const wait = Math.max(0, Math.ceil((state.retryAt - performance.now()) / 1000));
    const what = stream === "closed" ? `Disconnected, next try in ${wait} s` : "Trouble";
    return ["bad", shown ? `${what}; this is ${time(shown.windowEndMs)}` : what];
  }
  if (current().at != null && shown) return ["past", `The past: ${time(shown.windowEndMs)}`];
  if (!status) return ["past", "Connecting"];
  if (status.live === false) return ["past", "Not live: a recording"];
  if (!shown) return ["past", "Live, no window yet"];
  const silent = performance.now() - (state.completed ?? state.began);
  const every = state.every ?? status.hop_ms;
  if (silent > STALE_WINDOWS * every + 5000) return ["bad", `Stale: no window for ${span(Math.round(silent / 1000) * 1000)}`];
  return ["good", "Live"];
}

function showPulse() {
  const [look, words] = pulse();
  const place = $("pulse");
  if (place.textContent !== words) show(place, words);
  place.className = `pulse ${look}`;
}

/** What is drawn of what there is, in words: nothing is left out silently. */
function shownInWords(drawn, frame) {
  const { snapshot: moment, edges } = frame;
  if (!moment) return "";
  const filtered = moment.edges.length - edges.length;
  const parts = [`${many(moment.vms.size, "VM")} in ${many(moment.ensembles.size, "ensemble")}`];
  if (frame.narrows) parts.push(`${count([...moment.vms.values()].filter(frame.passes).length)} VMs match`);
  parts.push(`${count(drawn.edges)} of ${many(moment.edges.length, "dependency", "dependencies")} drawn one by one`);
  if (drawn.closed > 0) parts.push(`${count(drawn.closed)} in ensembles drawn closed (zoom in)`);
  if (drawn.outside > 0) parts.push(`${count(drawn.outside)} outside the view`);
  if (filtered > 0) parts.push(`${count(filtered)} hidden by filters`);
  if (drawn.cut > 0) parts.push(`${count(drawn.cut)} weaker ones not drawn (zoom in)`);
  if (drawn.cutAcross > 0) parts.push(`${count(drawn.cutAcross)} between circles not drawn (choose a VM to see its own)`);
  if (drawn.cutLinks > 0) parts.push(`${many(drawn.cutLinks, "line")} between circles not drawn (point at a circle to see its lines)`);
  const gone = frame.diff ? [...frame.diff.vms].filter(([id, how]) => how === "gone" && !moment.vms.has(id)).length : 0;
  const signed = (how) => drawn.marks.filter(({ decided }) => decided === how).length;
  if (drawn.marks.length > 0) parts.push(`of those drawn people confirmed ${count(signed("confirmed"))}, and rejected ${count(signed("rejected"))} that are not held`);
  if (gone > 0) parts.push(`${many(gone, "VM is", "VMs are")} gone and only in the list of changes`);
  if (frame.hosts && frame.hosts.size > 8) parts.push(`8 colours for ${count(frame.hosts.size)} hosts: some share one`);
  return `${parts.join("; ")}.`;
}

let wordsTimer = null;
function drawn(statistics, frame) {
  if (state.paintedMs == null && frame.snapshot) state.paintedMs = performance.now();
  // Words may come a little later than the picture: screen readers are not to be flooded.
  clearTimeout(wordsTimer);
  wordsTimer = setTimeout(() => {
    const words = shownInWords(statistics, frame);
    if ($("shown").textContent !== words) show($("shown"), words);
  }, 250);
}

/** Shows what is known, as the address asks for it. */
function render() {
  const route = current();
  controls(route);
  state.timeline.update(state.windows);
  showPulse();
  show($("error"), state.error ?? "");
  $("error").hidden = state.error == null;
  const map = route.view === "map";
  const none = state.shown == null;
  $("map-view").hidden = none || !map;
  $("list-view").hidden = none || map;
  $("welcome").hidden = !none || state.error != null;
  $("panel").hidden = none;
  if (none) return welcome();
  const passing = filter(route);
  const diff = state.changes && differences(state.changes);
  // What is rejected is so now; of the past only what was held is known.
  const rejected = route.at == null ? state.book.items.filter((one) => one.decision === "rejected").map(({ a, b }) => [a, b]) : [];
  state.map.update(state.shown, route, passing, { diff, rejected });
  if (!state.revealed) reveal(route);
  state.revealed = true;
  if (route.view === "changes") lists.changes($("list-view"), state.changes, state.fromMs, state.shown.windowEndMs);
  else if (route.view === "events") lists.events($("list-view"), state.events, state.forgotten);
  else if (route.view === "decisions") lists.decisions($("list-view"), desk);
  else if (route.view === "placement") lists.placement($("list-view"), hints(), state.shown.windowEndMs);
  else if (!map) lists.table($("list-view"), route.view, state.shown, passing);
  const some = route.vm != null || route.ensemble != null || route.pair != null;
  $("panel").hidden = !map && !some;
  document.body.classList.toggle("detail", some);
  show($("panel"), panel(route, state.shown, context));
  $("legend-changes").hidden = diff == null;
  for (const one of document.querySelectorAll(".legend-decided")) one.hidden = state.book.items.length === 0;
  $("none").hidden = !passing.narrows || [...state.shown.vms.values()].some(passing.vm);
}

/** Where people decide: what stands, whether they may here, and what comes of it. */
const desk = {
  get book() { return state.book; },
  get open() { return state.status?.decides === true; },
  vms: () => [...state.shown.vms.keys()],
  /** What an ensemble may be called beside this: the name that it was given, or what it is called by itself. */
  otherNames: (name) => [state.book.ensembles.get(name)?.name, state.names.get(name)],
  ask,
  done: async (words) => {
    await decisions();
    show($("told"), words);
    // The form is gone, and with it the place of whoever uses the keyboard.
    if (document.activeElement === document.body) ($("undo") ?? $("list-title") ?? $("panel-title"))?.focus();
  },
};

const context = {
  desk,
  get events() { return state.events; },
  get status() { return state.status; },
  isClosed: (name) => state.map.isClosed(`ensemble:${name}`),
  toggle: (name) => $("fold").setAttribute("aria-pressed", String(state.map.toggle(`ensemble:${name}`))),
};

function welcome() {
  const { status } = state;
  if (!status) return;
  const first = `The first window is complete after ${span(status.window_ms)} of samples, one every ${span(status.period_ms)}; then the map appears here by itself.`;
  show($("welcome"), h("h2", {}, "No window yet"), h("p", {}, first), status.note && h("p", { class: "muted" }, `This is ${status.note}.`));
}

/** The controls say what the address says. */
function controls(route) {
  for (const [id, value] of Object.entries({ q: route.q, strength: route.strength, confidence: route.confidence, group: route.group, colour: route.colour })) {
    if ($(id) !== document.activeElement || id !== "q") $(id).value = value;
  }
  show($("strength-said"), route.strength === 0 ? "any" : `≥ ${route.strength.toFixed(2)}`);
  hosts(route);
  for (const one of document.querySelectorAll("#views a")) {
    const view = one.dataset.view;
    one.setAttribute("href", link({ view, vm: null, ensemble: null, pair: null }).getAttribute("href"));
    if (view === route.view) one.setAttribute("aria-current", "page");
    else one.removeAttribute("aria-current");
  }
  for (const one of document.querySelectorAll("#export a")) one.setAttribute("href", api.exportUrl(one.dataset.format, route.at));
  $("clear").hidden = ["q", "host", "strength", "confidence"].every((key) => route[key] === DEFAULTS[key]);
}

function hosts(route) {
  const select = $("host"), known = state.shown?.hosts ?? [];
  const wanted = route.host === "" || known.includes(route.host) ? known : [...known, route.host];
  if (select.options.length !== wanted.length + 1 || wanted.some((host, i) => select.options[i + 1].value !== host)) {
    select.replaceChildren(h("option", { value: "" }, "all"), ...wanted.map((host) => h("option", { value: host }, visible(host))));
  }
  select.value = route.host;
}

function wire() {
  const on = (id, event, act) => $(id).addEventListener(event, act);
  on("filters", "submit", (event) => {
    event.preventDefault();
    state.map.fit(true);
  });
  on("q", "input", () => go({ q: $("q").value }, true));
  on("strength", "input", () => go({ strength: Number($("strength").value) }, true));
  for (const id of ["host", "group", "colour"]) on(id, "change", () => go({ [id]: $(id).value }));
  on("confidence", "change", () => go({ confidence: Number($("confidence").value) }));
  on("clear", "click", () => go({ q: "", host: "", strength: 0, confidence: 0 }));
  on("more", "click", () => $("more").setAttribute("aria-expanded", String(document.body.classList.toggle("more"))));
  on("theme", "click", () => dispatchEvent(new Event("themetoggle")));
  on("zoom-in", "click", () => state.map.zoom(1.5));
  on("zoom-out", "click", () => state.map.zoom(1 / 1.5));
  on("fit", "click", () => state.map.fit());
  on("fold-all", "click", () => foldAll());
  on("skip", "click", (event) => {
    event.preventDefault();
    $("main").focus();
  });
  on("token-form", "submit", () => {
    if (!state.afterToken) {
      api.token.set($("token-value").value);
      return start();
    }
    api.token.write.set($("token-value").value);
    state.afterToken();
  });
  on("export", "click", exported);
  on("list-view", "click", exported);
  addEventListener("themechange", () => state.map.repaint());
  addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea, dialog");
    if (event.key === "/" && !typing) {
      event.preventDefault();
      $("q").focus();
    }
    if (event.key === "Escape" && !typing) go({ vm: null, ensemble: null, pair: null });
  });
}

function foldAll() {
  const folded = $("fold-all").getAttribute("aria-pressed") !== "true";
  $("fold-all").setAttribute("aria-pressed", String(folded));
  state.map.closeAll(folded);
}

/** A link cannot say the token: then what it leads to is fetched first. */
async function exported(event) {
  const from = event.target.closest("#export a, a.download");
  if (!from || !api.token.get()) return;
  event.preventDefault();
  const url = URL.createObjectURL(await api.blob(from.getAttribute("href")));
  h("a", { href: url, download: from.download || `lwt.${from.dataset.format}` }).click();
  URL.revokeObjectURL(url);
}

/** The address changed: what is loaded may do, or not. */
let before = null;
function navigated() {
  const route = current();
  const reloads = before == null || route.at !== before.at || route.since !== before.since;
  const opened = before != null && [route.vm, route.ensemble, route.pair?.join()].some((one, i) =>
    one != null && one !== [before.vm, before.ensemble, before.pair?.join()][i]);
  before = route;
  if (reloads) load();
  else render();
  if (!opened || !state.shown) return;
  reveal(route);
  $("panel-title")?.focus();
}

/** Whoever follows a link sees on the map what it is about. */
function reveal({ vm, pair, ensemble }) {
  const id = vm ?? pair?.[0] ?? (ensemble == null ? null : `ensemble:${ensemble}`);
  if (id != null) state.map.reveal(id);
}

function opened({ kind, id, pair, group }) {
  const none = { vm: null, ensemble: null, pair: null };
  if (kind === "vm") go({ ...none, vm: id });
  else if (kind === "edge") go({ ...none, pair });
  else if (group.kind === "ensemble") go({ ...none, ensemble: group.name });
  else go({ ...none, host: group.name });
  if (kind === "group") state.map.reveal(id);
  // It may have been open already.
  $("panel-title")?.focus();
}

function start() {
  state.began = performance.now();
  refresh();
  decisions();
  api.follow({
    open: () => {
      const away = state.stream === "closed";
      state.stream = "open";
      if (away) reload();
      showPulse();
    },
    event: heard,
    closed: (wait) => {
      Object.assign(state, { stream: "closed", retryAt: performance.now() + wait });
      showPulse();
    },
  });
}

state.timeline = new Timeline();
state.map = new MapView($("map"), { open: opened, say: (words) => show($("said"), words), drawn });
wire();
before = current();
addEventListener("hashchange", navigated);
setInterval(showPulse, 1000);
start();

/** What tests may read: a canvas has nothing to find in it. */
window.lwt = Object.freeze({
  sight: () => state.map.sight,
  shown: () => state.shown && { windowEndMs: state.shown.windowEndMs, vms: state.shown.vms.size, edges: state.shown.edges.length,
    ensembles: [...state.shown.ensembles.keys()] },
  windows: () => state.windows.length,
  events: () => state.events.map(({ type, data }) => ({ type, data })),
  paintedMs: () => state.paintedMs,
});
