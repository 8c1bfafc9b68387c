/**
 * The side panel: the overview, or one VM, one ensemble, one pair. What the page has already is shown at once; series
 * and explanations are fetched and put in when they come.
 */
import { get } from "./api.js";
import { cpu, evidence, held, lags } from "./charts.js";
import { ensembleLink, h, link, named, pairLink, show, vmLink } from "./dom.js";
import { nameForm, pairForm, pairWith, vmForm } from "./decide.js";
import { clock, confidence, cores, count, lag, many, span, strength, time } from "./format.js";
import { isHub, pairKey } from "./model.js";
import { sentence } from "./events.js";

/** CPU curves one above the other: more are not compared by eye. */
const CURVES = 12;
/** Lines of a table in the panel: the list views have all of them. */
const LINES = 50;
const CLOSED = { vm: null, ensemble: null, pair: null };

/** What to show for a route: `{kind, title, body}`; `wait` are promises that put in what must be fetched. */
export function panel(route, snapshot, context) {
  if (route.pair) return pairPanel(route.pair, snapshot, context);
  if (route.vm != null) return vmPanel(route.vm, snapshot, context);
  if (route.ensemble != null) return ensemblePanel(route.ensemble, snapshot, context);
  return overview(snapshot, context);
}

const heading = (kind, ...title) => h("header", {},
  h("div", {}, h("p", { class: "kind" }, kind), h("h2", { id: "panel-title", tabindex: "-1" }, title)),
  h("a", { href: link(CLOSED).getAttribute("href"), class: "close", "aria-label": "Close" }, "×"));

const facts = (...pairs) => h("dl", {}, pairs.filter(Boolean).map(([what, ...said]) => [h("dt", {}, what), h("dd", {}, said)]));
const joined = (nodes) => nodes.flatMap((node, i) => (i === 0 ? [node] : [", ", node]));
const missing = (what) => h("p", { class: "empty" }, `There is no such ${what} at this moment. It may come back, or another moment has it.`);

/** A place for what `fetched` will bring: says so while it is on its way, and what went wrong. */
function later(fetched, render) {
  const place = h("div", { class: "later", "aria-busy": "true" }, h("p", { class: "muted" }, "Loading…"));
  fetched.then((value) => show(place, render(value)), (error) => show(place, h("p", { class: "empty" }, error.message)))
    .finally(() => place.removeAttribute("aria-busy"));
  return place;
}

function curves(ids, names) {
  return later(get("series", { vm: ids }), ({ period_ms: periodMs, from_ms: fromMs, items }) => items.map((one) =>
    cpu(names ? vmLink(one.vm) : `CPU use, a value every ${span(periodMs)}`, one.vm, one.cpu_ppm, fromMs, periodMs)));
}

function vmPanel(id, snapshot, { desk }) {
  const vm = snapshot.vms.get(id);
  if (!vm) return [heading("VM", named(id)), missing("VM")];
  const edges = snapshot.edges.filter(({ a, b }) => a === vm || b === vm);
  return [
    heading(isHub(vm) ? "VM, shared by several ensembles" : "VM", named(id)),
    facts(
      ["Host", vm.host == null ? "not known" : link({ ...CLOSED, host: vm.host, view: "vms" }, named(vm.host))],
      ["Ensembles", vm.ensembles.length ? joined(vm.ensembles.slice(0, LINES).map(ensembleLink)) : "none",
        vm.ensembles.length > LINES && ` and ${count(vm.ensembles.length - LINES)} more`],
      ["State", vm.ignored ? "ignored: somebody decided that it takes part in nothing"
        : vm.idle ? "idle: it does too little to be judged" : "working"],
    ),
    curves([id], false),
    h("h3", {}, many(edges.length, "dependency", "dependencies")),
    edges.length > 0 && table(["With", "Strength", "Sure", "Lag"], edges, (edge) => {
      const other = edge.a === vm ? edge.b : edge.a;
      return [[pairLink(edge.a.id, edge.b.id, named(other.id)), edge.decided && ` (${edge.decided})`],
        strength(edge.strength), confidence(edge.confidence), lag(edge.lagMs)];
    }),
    h("h3", {}, "With another VM"),
    pairWith(desk, id),
    vmForm(desk, vm),
  ];
}

function table(heads, rows, cells) {
  return [
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": heads.join(", ") }, h("table", {},
      h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
      h("tbody", {}, rows.slice(0, LINES).map((row) => h("tr", {}, cells(row).map((cell) => h("td", {}, cell))))))),
    rows.length > LINES && h("p", { class: "muted" }, `The first ${LINES} of ${count(rows.length)}; the lists have all.`),
  ];
}

function ensemblePanel(asked, snapshot, { toggle, isClosed, desk }) {
  // By another name, if it has got one meanwhile, or lost it.
  const id = [asked, ...desk.otherNames(asked)].find((name) => snapshot.ensembles.has(name));
  const ensemble = snapshot.ensembles.get(id);
  if (!ensemble) return [heading("Ensemble", named(asked)), missing("ensemble")];
  const own = ensemble.vms.filter((vm) => !isHub(vm));
  const fold = h("button", { type: "button", id: "fold", "aria-pressed": String(isClosed(id)), onclick: () => toggle(id) }, "Collapse on the map");
  const shown = ensemble.vms.slice(0, CURVES);
  return [
    heading("Ensemble", named(id)),
    facts(
      ["VMs", count(ensemble.vms.length)],
      ["Dependencies", link({ ...CLOSED, view: "dependencies", q: id }, count(ensemble.edges))],
      ["Hosts", ensemble.hosts.size === 0 ? "not known" : [count(ensemble.hosts.size), ensemble.hosts.size > 1 && ": traffic between them leaves the host"]],
      ensemble.hubs.length > 0 && ["Shared VMs", joined(ensemble.hubs.slice(0, LINES).map((hub) => vmLink(hub.id)))],
    ),
    h("p", {}, fold),
    nameForm(desk, id),
    h("h3", {}, "CPU use, one above the other"),
    ensemble.vms.length > CURVES && h("p", { class: "muted" }, `The first ${CURVES} of ${count(ensemble.vms.length)} VMs.`),
    curves(shown.map((vm) => vm.id), true),
    h("h3", {}, "Members"),
    table(["VM", "Host", "Dependencies"], [...ensemble.hubs, ...own], (vm) =>
      [[vmLink(vm.id), isHub(vm) && " (shared)"], vm.host == null ? "–" : named(vm.host), count(vm.degree)]),
  ];
}

function pairPanel([a, b], snapshot, { desk }) {
  const key = pairKey(a, b);
  const edge = snapshot.edges.find((one) => pairKey(one.a.id, one.b.id) === key);
  const cause = edge?.cause && named(edge[edge.cause].id);
  return [
    heading("Pair", named(a), h("span", { class: "and" }, " and "), named(b)),
    h("p", {}, vmLink(a), " · ", vmLink(b)),
    edge ? facts(
      ["Strength", strength(edge.strength), edge.strength < 0 && ": one rests while the other works"],
      ["Confidence", confidence(edge.confidence)],
      ["Lag", lag(edge.lagMs)],
      edge.direct != null && ["Kind", edge.direct ? "direct" : "through another VM"],
      cause && ["Cause", cause],
      edge.sinceMs != null && ["Held since", time(edge.sinceMs)],
      edge.decided != null && ["Held because", edge.strength == null ? "somebody confirmed it; it is not found" : "it is found, and somebody confirmed it"],
    ) : h("p", { class: "empty" }, "At this moment they are not held to be dependent."),
    pairForm(desk, [a, b], edge),
    later(get("events", { vm: [a, b], limit: 20_000 }), ({ items }) => held(items.map(({ type, data }) => ({ type, ...data })), snapshot.windowEndMs)),
    later(get("explain", { a, b }), explained),
  ];
}

function explained(told) {
  const { detail } = told;
  return [
    h("p", { class: "sentence" }, told.sentence),
    h("p", { class: "muted" }, `From the last window, ${clock(told.window_start_ms)} to ${time(told.window_end_ms)}.`),
    [told.a, told.b].map((vm, i) => cpu(named(vm), vm, told.cpu_ppm[i], told.window_start_ms, told.period_ms)),
    told.history.length > 1 && [
      evidence(told.history),
      h("p", { class: "muted" }, "Line with points: each window; pale: what is recorded from before; dashed: enough. In standard deviations beyond what unrelated pairs show."),
    ],
    detail && [
      h("h3", {}, "What neither model expected, by scale"),
      table(["Bin", "Correlation", "95 % of unrelated pairs", "Deviations"], detail.scales, (scale) =>
        [span(scale.bin_ms), strength(scale.correlation), scale.band.map(strength).join(" to "), scale.z.toFixed(1)]),
      h("h3", {}, "Correlation, some time apart"),
      h("p", { class: "muted" }, "Right of the middle: the second follows the first. In the grey band are 95 % of unrelated pairs."),
      detail.scales.filter((scale) => scale.lags.length > 1).map(lags),
      detail.moments.length > 0 && [
        h("h3", {}, "The moments that say most"),
        table(["When", "First VM", "Second VM", "Share"], detail.moments, (moment) => [
          `${clock(told.window_start_ms + moment.start_ms[0])}, ${span(moment.length_ms)}`,
          ...[0, 1].map((i) => `${cores(moment.cpu_ppm[i])} (${unexpected(moment.unexpected_ppm[i])})`),
          `${(moment.share * 100).toFixed(1)} %`]),
      ],
    ],
  ];
}

const unexpected = (ppm) => `${ppm < 0 ? "−" : "+"}${(Math.abs(ppm) / 1e6).toFixed(3)}`;

function overview(snapshot, { events, status, desk }) {
  const shared = [...snapshot.vms.values()].filter(isHub);
  const idle = [...snapshot.vms.values()].filter((vm) => vm.idle).length;
  const alone = [...snapshot.vms.values()].filter((vm) => vm.ensembles.length === 0).length;
  return [
    h("header", {}, h("div", {}, h("h2", { id: "panel-title", tabindex: "-1" }, "Overview"))),
    facts(
      ["VMs", link({ view: "vms" }, count(snapshot.vms.size)), `, ${count(idle)} idle, ${count(alone)} in no ensemble`],
      ["Ensembles", link({ view: "ensembles" }, count(snapshot.ensembles.size))],
      ["Dependencies", link({ view: "dependencies" }, count(snapshot.edges.length))],
      snapshot.hosts.length > 0 && ["Hosts", link({ view: "placement" }, count(snapshot.hosts.length))],
      desk.book.items.length > 0 && ["Decisions", link({ view: "decisions" }, count(desk.book.items.length))],
      status && ["Window", `${span(status.window_ms)}, every ${span(status.hop_ms)}`],
      status?.note && ["This is", status.note],
      status?.truth_f1 != null && ["How right", `F1 ${status.truth_f1.toFixed(3)} against the simulation's truth`],
    ),
    shared.length > 0 && [
      h("h3", {}, `Shared by several ensembles: ${count(shared.length)}`),
      h("ul", { class: "plain" }, shared.sort((x, y) => y.ensembles.length - x.ensembles.length).slice(0, 8).map((vm) =>
        h("li", {}, vmLink(vm.id), h("span", { class: "muted" }, ` ${vm.ensembles.length} ensembles`)))),
      shared.length > 8 && h("p", { class: "muted" }, `The 8 most shared of ${count(shared.length)}.`),
    ],
    h("h3", {}, "Latest events"),
    events.length === 0 ? h("p", { class: "muted" }, "None of late.")
      : h("ul", { class: "plain events" }, events.slice(0, 8).map((event) => h("li", {}, sentence(event)))),
    events.length > 8 && h("p", {}, link({ view: "events" }, `All ${count(events.length)} events`)),
  ];
}
