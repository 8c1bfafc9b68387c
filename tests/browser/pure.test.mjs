/**
 * The parts of the dashboard that need no browser: places, filters, words, addresses, the stream's parser.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { query, sseParser } from "../../src/serve/assets/api.js";
import { condense, path } from "../../src/serve/assets/charts.js";
import { book } from "../../src/serve/assets/decide.js";
import * as format from "../../src/serve/assets/format.js";
import { Places, radius, Rows, seat, SPACING } from "../../src/serve/assets/layout.js";
import { differences, filter, pairKey, pattern, snapshot } from "../../src/serve/assets/model.js";
import { DEFAULTS, format as address, parse } from "../../src/serve/assets/route.js";
import { box, build, links, Memory } from "../../src/serve/assets/scene.js";

const group = (id, size, near = []) => ({ id, size, near });
/** Numbers that are always the same. */
function* numbers(seed) {
  for (let x = seed; ; ) yield (x = (x * 1103515245 + 12345) % 2147483648) / 2147483648;
}
const random = (seed) => {
  const from = numbers(seed);
  return () => from.next().value;
};

test("circles never overlap, whatever their sizes and whoever shares a hub", () => {
  for (let seed = 1; seed <= 30; seed += 1) {
    const next = random(seed);
    const groups = Array.from({ length: 60 }, (_, i) => group(`e${i}`, 1 + Math.floor(next() ** 4 * 200)));
    for (let i = 0; i < 8; i += 1) {
      const near = Array.from({ length: 3 }, () => `e${Math.floor(next() * 60)}`);
      groups.push(group(`hub${i}`, 1, near));
      for (const id of near) groups.find((one) => one.id === id).near.push(`hub${i}`);
    }
    const places = [...new Places().place(groups).values()];
    for (const [i, a] of places.entries()) {
      assert.ok(a.x >= a.r, "right of x = 0");
      for (const b of places.slice(0, i)) assert.ok(Math.hypot(a.x - b.x, a.y - b.y) >= a.r + b.r, `seed ${seed}`);
    }
  }
});

test("the same names have the same places, in whichever order they come", () => {
  const groups = Array.from({ length: 50 }, (_, i) => group(`e${i}`, 2 + (i % 7)));
  assert.deepEqual(new Places().place(groups), new Places().place([...groups].reverse()));
});

test("an ensemble keeps its place when others come and go, and when it comes back", () => {
  const next = random(5), places = new Places();
  const all = Array.from({ length: 80 }, (_, i) => group(`e${i}`, 2 + (i % 9)));
  const first = places.place(all);
  for (let round = 0; round < 50; round += 1) {
    const some = all.filter(() => next() < 0.7).concat(group(`new${round}`, 4));
    for (const [id, at] of places.place(some)) if (first.has(id)) assert.deepEqual(at, first.get(id));
  }
});

test("an ensemble that grows within its cell stays; one that outgrows it moves, and nobody else does", () => {
  const places = new Places(), all = Array.from({ length: 20 }, (_, i) => group(`e${i}`, 3));
  const before = places.place(all);
  const grown = places.place(all.map((one) => (one.id === "e0" ? group("e0", 5) : one)));
  assert.deepEqual([grown.get("e0").x, grown.get("e0").y], [before.get("e0").x, before.get("e0").y]);
  const large = places.place(all.map((one) => (one.id === "e0" ? group("e0", 60) : one)));
  for (const { id } of all.slice(1)) assert.deepEqual(large.get(id), before.get(id));
});

test("places of ensembles that never come back are given away in the end", () => {
  const places = new Places();
  let far = 0;
  for (let round = 0; round < 400; round += 1) far = Math.max(...[...places.place([group(`e${round}`, 3)]).values()].map((at) => at.x));
  assert.ok(far < 4000, `at ${far}`);
});

test("those that share a hub stand around it", () => {
  const near = ["e1", "e5", "e9", "e13"];
  const groups = Array.from({ length: 30 }, (_, i) => group(`e${i}`, 4, near.includes(`e${i}`) ? ["hub"] : []));
  const at = new Places().place([...groups, group("hub", 1, near)]);
  const far = (id) => Math.hypot(at.get(id).x - at.get("hub").x, at.get(id).y - at.get("hub").y);
  for (const id of near) assert.ok(far(id) < 300, `${id} at ${far(id)}`);
});

test("seats are apart, and inside of their circle", () => {
  for (const n of [1, 2, 3, 5, 12, 13, 100, 1000]) {
    const seats = Array.from({ length: n }, (_, k) => seat(k, n));
    for (const [i, a] of seats.entries()) {
      assert.ok(Math.hypot(a.x, a.y) < radius(n));
      for (const b of seats.slice(0, i)) assert.ok(Math.hypot(a.x - b.x, a.y - b.y) > 0.9 * SPACING, `${n}`);
    }
  }
});

test("rows: nobody shares a place, and whoever stays keeps it", () => {
  const rows = new Rows();
  const before = rows.place(["a", "b", "c", "d"]), after = rows.place(["b", "d", "e", "f"]);
  for (const id of ["b", "d"]) assert.deepEqual(before.get(id), after.get(id));
  assert.equal(new Set([...after.values()].map(({ x, y }) => `${x} ${y}`)).size, 4);
});

const VMS = [
  { vm: "h1/web", name: "web", host: "h1", ensembles: ["e1"], idle: false },
  { vm: "h2/db", name: "db", host: "h2", ensembles: ["e1", "e2"], idle: false },
  { vm: "h1/app", name: "app", host: "h1", ensembles: ["e2"], idle: false },
  { vm: "h2/lone", name: "lone", host: "h2", ensembles: [], idle: true },
];
const EDGES = [
  { a: "h1/web", b: "h2/db", strength: 0.4, confidence: 0.95, lag_ms: 0 },
  { a: "h1/app", b: "h2/db", strength: -0.9, confidence: 0.9999, lag_ms: 1000 },
  { a: "h1/app", b: "h9/nobody", strength: 1, confidence: 1, lag_ms: 0 },
];
const moment = () => snapshot(VMS, EDGES, 1000);

test("a moment: ensembles, hubs and hosts are counted, edges come strongest first", () => {
  const { ensembles, edges, hosts, vms } = moment();
  assert.deepEqual(edges.map(({ strength }) => strength), [-0.9, 0.4], "an edge to nobody is none");
  assert.deepEqual([...ensembles.values()].map((e) => [e.id, e.vms.length, e.hubs.length, e.edges]), [["e1", 2, 1, 1], ["e2", 2, 1, 1]]);
  assert.deepEqual(hosts, ["h1", "h2"]);
  assert.equal(vms.get("h2/db").degree, 2);
});

test("what is decided is found by what it is about", () => {
  const confirmed = { decision: "confirmed", a: "x", b: "y" }, named = { decision: "named", ensemble: "e1", name: "__proto__" };
  const { pairs, vms, ensembles } = book([confirmed, { decision: "ignored", vm: "constructor" }, named]);
  assert.equal(pairs.get(pairKey("y", "x")), confirmed);
  assert.deepEqual([vms.size, vms.get("constructor").decision], [1, "ignored"]);
  assert.deepEqual([ensembles.get("e1"), ensembles.get("__proto__"), ensembles.get("e2")], [named, named, undefined]);
});

test("what is decided is known of pairs and VMs; a confirmed pair that is not found is as sure as can be", () => {
  const vms = [{ ...VMS[0], ignored: true }, VMS[1], VMS[2]];
  const shown = snapshot(vms, [{ a: "h1/web", b: "h2/db", strength: null, confidence: null, decided: "confirmed" }], 1000);
  assert.deepEqual([...shown.vms.values()].map(({ ignored }) => ignored), [true, false, false]);
  assert.equal(shown.edges[0].decided, "confirmed");
  assert.equal(links(build(shown, "host", new Memory(), false), shown.edges)[0].confidence, 1);
});

test("filters", () => {
  const shown = moment();
  const passing = (change) => {
    const { vm, edge } = filter({ ...DEFAULTS, ...change });
    return [[...shown.vms.values()].filter(vm).map(({ name }) => name).join(), shown.edges.filter(edge).length];
  };
  for (const [change, expected] of [
    [{}, ["web,db,app,lone", 2]], [{ q: "WEB" }, ["web", 1]], [{ q: "h2/*" }, ["db,lone", 2]], [{ q: "?b" }, ["db", 2]],
    [{ q: "e2" }, ["db,app", 2]], [{ host: "h2" }, ["db,lone", 2]], [{ strength: 0.5 }, ["web,db,app,lone", 1]],
    [{ confidence: 0.99 }, ["web,db,app,lone", 1]], [{ q: "nothing" }, ["", 0]], [{ q: "lone" }, ["lone", 0]],
  ]) assert.deepEqual(passing(change), expected, JSON.stringify(change));
});

test("a pattern takes what a regular expression would take amiss", () => {
  assert.ok(pattern("a.(b")("xA.(bx"));
  assert.ok(pattern("a.*b")("a.xxb"));
  assert.ok(!pattern("a.*b")("axxb"));
  assert.ok(pattern("w*")("w\nx"));
});

test("the scene: a hub is a circle of its own, next to its ensembles; lone VMs stand in rows", () => {
  const scene = build(moment(), "ensemble", new Memory(), false);
  assert.deepEqual([...scene.groups.keys()], ["ensemble:e1", "ensemble:e2", "hub:h2/db"]);
  assert.equal(scene.nodes.get("h2/lone").group.kind, "alone");
  assert.equal(links(scene, moment().edges).length, 2);
  const { left, right } = box(scene);
  assert.ok(left < 0 && right > 0);
  assert.equal(build(moment(), "host", new Memory(), false).groups.size, 2);
});

test("changes between two moments", () => {
  const { vms, pairs, total } = differences([
    { change: "appeared", vm: "x" }, { change: "joined", vm: "x", ensemble: "e1" }, { change: "left", vm: "y", ensemble: "e1" },
    { change: "dependency_vanished", a: "x", b: "y" }]);
  assert.deepEqual([...vms], [["x", "new"], ["y", "moved"]]);
  assert.equal(pairs.get(pairKey("y", "x")).how, "gone");
  assert.equal(total, 4);
});

test("addresses: whatever is written there, the page has a route; what it writes it reads", () => {
  for (const route of [
    DEFAULTS, { ...DEFAULTS, vm: "h1/a&b=c#%\u202e<script>" }, { ...DEFAULTS, pair: ["a", "b"], q: "x y", at: 1700000000000 },
    { ...DEFAULTS, since: "-10", strength: 0.35, view: "changes" }, { ...DEFAULTS, vm: "" },
  ]) assert.deepEqual(parse(address(route)), route);
  for (const hash of ["#view=nonsense&at=x&since=y&strength=9", "#%%%", "#__proto__=1&constructor=2&pair=one", "#view=map&group=<b>"]) {
    const { strength, ...rest } = parse(hash);
    assert.deepEqual({ ...rest, strength: 0 }, DEFAULTS, hash);
  }
});

test("words", () => {
  for (const [said, expected] of [
    [format.count(10000), "10,000"], [format.many(1, "VM"), "1 VM"], [format.many(2, "dependency", "dependencies"), "2 dependencies"],
    [format.time(1700000300000), "2023-11-14 22:18:20 UTC"], [format.time(1e20), "–"], [format.span(90_000), "1.5 min"], [format.span(0), "0 s"],
    [format.span(200), "200 ms"], [format.strength(-0.5), "−0.50"], [format.strength(null), "–"], [format.confidence(0.999999), "> 99.99 %"],
    [format.confidence(0.98999), "98.99 %"], [format.confidence(null), "–"], [format.lag(-1000), "first 1 s later"], [format.cores(250000), "0.25 cores"],
  ]) assert.equal(said, expected);
  assert.deepEqual(["e10", "e2", "E1"].sort(format.byName), ["E1", "e2", "e10"]);
});

test("a name on the canvas is isolated, cut in the middle, and hides nothing", () => {
  assert.equal(format.label("web"), "\u2068web\u2069");
  assert.equal(format.label("a-very-long-name-web", 9), "\u2068a-ver…-web\u2069".replace("a-ver", "a-ve"));
  assert.equal(format.label("\u202egnp.exe", 30), "\u2068‹U+202E›gnp.exe\u2069");
  assert.equal(format.visible("bell\u0007\u2068"), "bell‹U+0007›‹U+2068›");
  assert.ok(Array.from(format.label("x".repeat(10_000), 20)).length <= 22);
  assert.ok(format.label("🦀".repeat(40), 7).isWellFormed());
});

test("the stream: events whole or in pieces, comments, what was lost", () => {
  const text = ": alive\n\nevent: change\ndata: {\"a\":1}\n\nevent: lost\ndata: {}\n\nevent: change\r\ndata: two\r\ndata: lines\r\n\r\n";
  const whole = [["change", '{"a":1}'], ["lost", "{}"], ["change", "two\nlines"]];
  for (let size = 1; size <= text.length; size += 1) {
    const heard = [], feed = sseParser((...event) => heard.push(event));
    for (let at = 0; at < text.length; at += size) feed(text.slice(at, at + size));
    assert.deepEqual(heard, whole, `pieces of ${size}`);
  }
});

test("a query says lists, and leaves out what is not there", () => {
  assert.equal(query({ vm: ["a/b", "c&d"], at: null, q: "", limit: 5 }), "vm=a%2Fb&vm=c%26d&limit=5");
});

test("curves keep their extremes, and break where there is nothing", () => {
  const values = Array.from({ length: 3000 }, (_, i) => (i === 1234 ? 99 : 1));
  assert.ok(condense(values, 360).includes(99));
  assert.equal(condense(values, 360).length, 720);
  assert.equal(path([1, null, 2], 0, 2).match(/M/g).length, 2);
});
