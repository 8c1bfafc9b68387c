/**
 * The same as the map, in tables: ensembles, VMs, dependencies, changes, events. For keyboards, screen readers, and
 * whoever looks for one line among 10,000.
 */
import { decisionsUrl } from "./api.js";
import { subject, undoButton, verdict } from "./decide.js";
import { ensembleLink, h, link, named, pairLink, show, vmLink } from "./dom.js";
import { changed, sentence } from "./events.js";
import { byName, confidence, count, lag, many, strength, time } from "./format.js";
import { isHub } from "./model.js";
import { DEFAULTS } from "./route.js";

/** Lines of a page: more are slow to draw, and nobody reads them. */
const PAGE = 100;
/** Ensembles named in a cell. */
const NAMED = 4;

const some = (ids) => ids.length === 0 ? "none"
  : [ids.slice(0, NAMED).map((id, i) => [i > 0 && ", ", ensembleLink(id)]), ids.length > NAMED && ` and ${ids.length - NAMED} more`];

const number = (of) => (x, y) => of(x) - of(y);
const name = (of) => (x, y) => byName(of(x) ?? "", of(y) ?? "");

/** For each list its title, its rows, and its columns: `[heading, order, cell]`. */
const LISTS = {
  ensembles: {
    title: "Ensembles", one: "ensemble",
    rows: (snapshot, filter) => [...snapshot.ensembles.values()].filter(filter.ensemble),
    all: (snapshot) => snapshot.ensembles.size,
    columns: [
      ["Ensemble", name((e) => e.id), (e) => ensembleLink(e.id)],
      ["VMs", number((e) => e.vms.length), (e) => count(e.vms.length)],
      ["Shared VMs", number((e) => e.hubs.length), (e) => count(e.hubs.length)],
      ["Hosts", number((e) => e.hosts.size), (e) => count(e.hosts.size)],
      ["Dependencies", number((e) => e.edges), (e) => count(e.edges)],
    ],
  },
  vms: {
    title: "VMs", one: "VM",
    rows: (snapshot, filter) => [...snapshot.vms.values()].filter(filter.vm),
    all: (snapshot) => snapshot.vms.size,
    columns: [
      ["VM", name((v) => v.id), (v) => vmLink(v.id)],
      ["Host", name((v) => v.host), (v) => (v.host == null ? "–" : named(v.host))],
      ["Ensembles", (x, y) => x.ensembles.length - y.ensembles.length || byName(x.ensembles[0] ?? "", y.ensembles[0] ?? ""),
        (v) => some(v.ensembles)],
      ["Dependencies", number((v) => v.degree), (v) => count(v.degree)],
      ["State", number((v) => 2 * Number(v.ignored) + Number(v.idle) - 2 * Number(isHub(v))),
        (v) => (v.ignored ? "ignored" : v.idle ? "idle" : isHub(v) ? "shared" : "working")],
    ],
  },
  dependencies: {
    title: "Dependencies", one: "dependency", more: "dependencies",
    rows: (snapshot, filter) => snapshot.edges.filter(filter.edge),
    all: (snapshot) => snapshot.edges.length,
    columns: [
      ["First VM", name((e) => e.a.id), (e) => vmLink(e.a.id)],
      ["Second VM", name((e) => e.b.id), (e) => vmLink(e.b.id)],
      ["Strength", number((e) => e.strength ?? 0), (e) => strength(e.strength)],
      ["Confidence", number((e) => e.confidence ?? 0), (e) => confidence(e.confidence)],
      ["Lag", number((e) => e.lagMs ?? 0), (e) => lag(e.lagMs)],
      ["Since", number((e) => e.sinceMs ?? 0), (e) => (e.sinceMs == null ? "–" : time(e.sinceMs))],
      ["Decided", name((e) => e.decided), (e) => e.decided ?? "–"],
      ["Evidence", number((e) => e.weight), (e) => pairLink(e.a.id, e.b.id, "explain", h("span", { class: "unseen" }, " ", named(e.a.id), " and ", named(e.b.id)))],
    ],
  },
};

/** How each list is sorted, and which page is open: lives as long as the page, not worth a link. */
const state = Object.fromEntries(Object.keys(LISTS).map((of) => [of, { column: 0, down: false, page: 0 }]));

/** Shows a list in `place`. */
export function table(place, which, snapshot, filter) {
  const { title, one, more, rows: select, all, columns } = LISTS[which];
  const sorted = state[which];
  const order = columns[sorted.column][1];
  const rows = select(snapshot, filter).sort((x, y) => (sorted.down ? order(y, x) : order(x, y)));
  const pages = Math.max(1, Math.ceil(rows.length / PAGE));
  sorted.page = Math.min(sorted.page, pages - 1);
  const again = (change) => {
    Object.assign(sorted, change);
    table(place, which, snapshot, filter);
  };
  const total = all(snapshot);
  const caption = rows.length === total ? many(total, one, more) : `${count(rows.length)} of ${many(total, one, more)}`;
  show(place,
    h("h2", { id: "list-title", tabindex: "-1" }, title),
    h("p", { class: "muted" }, `${caption} at ${time(snapshot.windowEndMs)}`),
    rows.length === 0 ? nothing(total) : [
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": "list-title" }, h("table", { class: "list" },
        h("caption", { class: "unseen" }, `${title}: ${caption}`),
        h("thead", {}, h("tr", {}, columns.map(([heading], i) => head(heading, i, sorted, again)))),
        h("tbody", {}, rows.slice(sorted.page * PAGE, (sorted.page + 1) * PAGE).map((row) =>
          h("tr", {}, columns.map(([, , cell], i) => h(i === 0 ? "th" : "td", i === 0 ? { scope: "row" } : {}, cell(row)))))))),
      pages > 1 && pager(sorted, pages, rows.length, again),
    ]);
}

function head(heading, column, sorted, again) {
  const mine = sorted.column === column;
  return h("th", { scope: "col", "aria-sort": mine ? (sorted.down ? "descending" : "ascending") : "none" },
    h("button", { type: "button", "data-key": `sort ${heading}`, onclick: () => again({ column, page: 0, down: mine ? !sorted.down : column > 0 }) },
      heading, h("span", { class: "arrow", "aria-hidden": "true" }, mine ? (sorted.down ? "▼" : "▲") : "")));
}

function pager({ page }, pages, total, again) {
  const turn = (what, to) => h("button", { type: "button", disabled: to < 0 || to >= pages, onclick: () => again({ page: to }) }, what);
  return h("nav", { class: "pager", "aria-label": "Pages" }, turn("Previous", page - 1),
    h("span", {}, `${count(page * PAGE + 1)} to ${count(Math.min(total, (page + 1) * PAGE))} of ${count(total)}`), turn("Next", page + 1));
}

const { q, host, strength: least, confidence: sure } = DEFAULTS;
/** The way out of filters that let nothing pass. */
const nothing = (total) => h("p", { class: "empty" }, total === 0 ? "There are none at this moment." : ["Nothing passes the filters. ",
  link({ q, host, strength: least, confidence: sure }, "Clear them")]);

/** What is different between two moments, by kind. `changes` is null as long as no second moment is chosen. */
export function changes(place, items, fromMs, toMs) {
  show(place,
    h("h2", { id: "list-title", tabindex: "-1" }, "Changes"),
    items == null
      ? h("p", { class: "empty" }, "Choose below the moment to compare with, for example the ", link({ since: "previous" }, "previous window"),
        " or the ", link({ since: "first" }, "first one"), ".")
      : [h("p", { class: "muted" }, `${many(items.length, "change")} between ${time(fromMs)} and ${time(toMs)}. `, link({ view: "map" }, "Show them on the map")),
        items.length === 0 ? h("p", { class: "empty" }, "Nothing is different between these two moments.") : lines(items, changed)]);
}

/** What happened while the page was open, newest first. */
export function events(place, items, forgotten) {
  show(place,
    h("h2", { id: "list-title", tabindex: "-1" }, "Events"),
    items.length === 0 ? h("p", { class: "empty" }, "Nothing has changed lately. Events appear here as they happen; that a dependency gets a little stronger or weaker is not listed.") : lines(items, sentence),
    forgotten > 0 && h("p", { class: "muted" }, `${many(forgotten, "older event")} not kept here: choose an earlier moment and compare.`));
}

/** What people decided, the last first. */
export function decisions(place, desk) {
  const items = desk.book.items.toSorted((x, y) => y.at_ms - x.at_ms);
  const exports = [["ndjson", "JSON, a line each (for lwt analyze --decisions)"], ["csv", "CSV"]].map(([format, what]) =>
    h("a", { href: decisionsUrl(format), download: `decisions.${format}`, class: "download" }, what));
  show(place,
    h("h2", { id: "list-title", tabindex: "-1" }, "Decisions"),
    h("p", { class: "muted" }, "What people know better than CPU use: it stands above what is found until it is undone. ",
      desk.open ? "Confirm or reject a pair, ignore a VM or name an ensemble where you look at it."
        : "Nothing can be decided here: this is a recording, or the server does not say."),
    items.length === 0 ? h("p", { class: "empty" }, "Nothing is decided.") : [
      h("p", {}, `${many(items.length, "decision")}. Export: `, exports[0], ", ", exports[1]),
      scrolled("list-title", ["About", "Decided", "By", "When", "Why", desk.open && "Undo"], items.slice(0, LINES), (one) =>
        [subject(one), verdict(one), named(one.who), time(one.at_ms), one.why == null ? "–" : named(one.why), desk.open && undoButton(desk, one)]),
      items.length > LINES && h("p", { class: "muted" }, `The last ${count(LINES)} of ${count(items.length)}; an export has all.`),
    ]);
}

/** Hints for whoever places VMs on hosts. `hints` is `{apart, needed}`, null as long as they are on their way. */
export function placement(place, hints, windowEndMs) {
  const { apart, needed } = hints ?? { apart: [], needed: [] };
  show(place,
    h("h2", { id: "list-title", tabindex: "-1" }, "Placement"),
    h("p", { class: "muted" }, hints == null ? "Loading…" : `Hints, from what is held at ${time(windowEndMs)}. What moves together in CPU use need not send much to each other.`),
    hints != null && [
      h("h3", { id: "apart-title" }, "Ensembles spread over hosts"),
      h("p", { class: "muted" }, "Their members depend on each other across hosts: those of the strongest pairs would gain most from being on one."),
      apart.length === 0 ? h("p", { class: "empty" }, "None: no dependency is known to lead from host to host.")
        : scrolled("apart-title", ["Ensemble", "VMs by host", "Pairs on two hosts", "Strength in all", "The strongest"], apart.slice(0, LINES), (one) => [
          ensembleLink(one.ensemble),
          Object.entries(one.hosts).map(([host, n], i) => [i > 0 && ", ", link({ view: "vms", host }, named(host)), `: ${count(n)}`]),
          count(one.pairs), one.strength.toFixed(2),
          one.strongest.slice(0, 1).map(({ a, b, a_host: from, b_host: to }) => [pairLink(a, b, named(a), " and ", named(b)), ", on ", named(from), " and ", named(to)])]),
      h("h3", { id: "needed-title" }, "VMs that others need"),
      h("p", { class: "muted" }, "Starved, they would slow down others: keep their share of the CPU, and do not move them first."),
      needed.length === 0 ? h("p", { class: "empty" }, "None: no VM is shared by ensembles, or known to drive another one.")
        : scrolled("needed-title", ["VM", "Host", "Ensembles", "Drives", "Dependencies"], needed.slice(0, LINES), (one) =>
          [vmLink(one.vm), one.host == null ? "–" : named(one.host), count(one.ensembles), many(one.dependents, "VM"), count(one.dependencies)]),
      [apart, needed].some(({ length }) => length > LINES) && h("p", { class: "muted" }, `The first ${count(LINES)} of each.`),
    ]);
}

/** A table with a heading to each row, named by the heading above it. */
const scrolled = (title, heads, rows, cells) =>
  h("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": title }, h("table", { class: "list wraps" },
    h("thead", {}, h("tr", {}, heads.filter(Boolean).map((head) => h("th", { scope: "col" }, head)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, cells(row).filter((cell) => cell !== false).map((cell, i) =>
      h(i === 0 ? "th" : "td", i === 0 ? { scope: "row" } : {}, cell)))))));

/** Lines shown of a list that has no pages. */
const LINES = 1000;
const lines = (items, say) => [
  h("ul", { class: "plain events", role: "list" }, items.slice(0, LINES).map((item) => h("li", {}, say(item)))),
  items.length > LINES && h("p", { class: "muted" }, `The first ${count(LINES)} of ${count(items.length)}.`)];
