/**
 * 10,000 VMs: how soon they are seen, and how smoothly the map moves. The server is a stand-in (the real one needs
 * minutes of samples first), the page and the browser are real.
 */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { browser, open, random, ready } from "./support.mjs";

const ASSETS = new URL("../../src/serve/assets/", import.meta.url);
const TYPES = { html: "text/html", css: "text/css", js: "text/javascript", svg: "image/svg+xml" };
const VMS = 10_000;
const FIRST_PAINT_MS = 2000, FRAMES_PER_S = 30;
const END_MS = 1_700_000_300_000;

/** 10,000 VMs on 300 hosts: most in ensembles of 2 to 12, one ensemble of 300, 40 shared VMs, a tenth in none. */
function datacenter() {
  const next = random(1), vms = [], dependencies = [], ensembles = [];
  const some = (n) => Math.floor(next() * n);
  for (let k = 0; vms.length < VMS; k += 1) {
    const alone = next() < 0.3, size = Math.min(VMS - vms.length, k === 5 ? 300 : alone ? 1 : 2 + some(11));
    const members = Array.from({ length: size }, (_, i) => {
      const host = `h${String(some(300)).padStart(4, "0")}`;
      return { vm: `${host}/app${k}-${i}`, name: `app${k}-${i}`, host, ensembles: alone ? [] : [`e${k}`], idle: alone && next() < 0.5 };
    });
    vms.push(...members);
    if (alone) continue;
    ensembles.push(members);
    for (const [i, a] of members.entries()) for (const b of members.slice(i + 1, i + 13)) dependencies.push(edge(a, b, next));
  }
  for (let k = 0; k < 40; k += 1) {
    const hub = ensembles[10 + some(ensembles.length - 10)][0];
    for (let i = 0; i < 3; i += 1) {
      const members = ensembles[10 + some(ensembles.length - 10)], name = members.at(-1).ensembles[0];
      if (hub.ensembles.includes(name)) continue;
      hub.ensembles.push(name);
      for (const one of members.slice(0, 4)) dependencies.push(edge(hub, one, next));
    }
  }
  return { vms, dependencies };
}

const edge = (a, b, next) => ({ a: a.vm, b: b.vm, strength: (next() < 0.04 ? -1 : 1) * (0.2 + 0.8 * next()), confidence: next() < 0.1 ? 0.95 : 0.999999,
  lag_ms: 0, direct: null, cause: null, since_ms: END_MS });

async function serve() {
  const { vms, dependencies } = datacenter();
  const list = (items) => ({ window_end_ms: END_MS, total: items.length, items, next: null });
  const status = { version: "0", engine: "coupling", window_ms: 300_000, hop_ms: 60_000, period_ms: 1000, window_end_ms: END_MS, from_ms: END_MS,
    vms: VMS, idle: 0, ensembles: 0, dependencies: dependencies.length, note: null };
  const windows = [{ window_end_ms: END_MS, changes: 0 }];
  const half = Math.ceil(dependencies.length / 2);
  const answers = Object.fromEntries(Object.entries({ status, windows: list(windows), vms: list(vms), events: list([]),
    dependencies: { ...list(dependencies.slice(0, half)), next: "more" } }).map(([name, value]) => [name, JSON.stringify(value)]));
  const more = JSON.stringify(list(dependencies.slice(half)));
  const server = createServer(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url, "http://x");
    const api = /^\/api\/v1\/(.*)/.exec(pathname)?.[1];
    if (api === "events/stream") return response.writeHead(200, { "Content-Type": "text/event-stream" }).write(": alive\n\n");
    if (api != null) return response.setHeader("Content-Type", "application/json").end(searchParams.get("after") === "more" ? more : answers[api]);
    const file = pathname === "/" ? "index.html" : pathname.replace("/assets/", "");
    const bytes = await readFile(new URL(file, ASSETS)).catch(() => null);
    response.writeHead(bytes ? 200 : 404, { "Content-Type": TYPES[file.split(".").at(-1)] ?? "text/plain" }).end(bytes);
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return server;
}

let chrome, server, url;
before(async () => {
  [chrome, server] = await Promise.all([browser(), serve()]);
  url = `http://127.0.0.1:${server.address().port}/`;
});
after(async () => {
  await chrome?.close();
  server?.closeAllConnections();
  server?.close();
});

/** Frames a second while `act` goes on. */
async function frames(page, act) {
  await page.evaluate(() => {
    window.frames_ = [];
    const tick = (now) => {
      window.frames_.push(now);
      window.frame_ = requestAnimationFrame(tick);
    };
    window.frame_ = requestAnimationFrame(tick);
  });
  await act();
  const times = await page.evaluate(() => {
    cancelAnimationFrame(window.frame_);
    return window.frames_;
  });
  return (1000 * (times.length - 1)) / (times.at(-1) - times[0]);
}

/** To and fro, so that what is in view stays much the same. */
async function drag(page) {
  await page.mouse.move(450, 400);
  await page.mouse.down();
  for (let i = 0; i < 80; i += 1) {
    await page.mouse.move(450 + 150 * Math.sin(i / 8), 400 + 60 * Math.cos(i / 5));
    await page.waitForTimeout(8);
  }
  await page.mouse.up();
}

async function wheel(page, by) {
  await page.mouse.move(450, 380);
  for (let i = 0; i < 10; i += 1) {
    await page.mouse.wheel(0, by);
    await page.waitForTimeout(30);
  }
}

test("10,000 VMs are on the map in under 2 s, all counted", async (context) => {
  let { page, wrong, close } = await open(chrome, url);
  await ready(page);
  let painted = await page.evaluate(() => window.lwt.paintedMs());
  if (painted >= FIRST_PAINT_MS) {
    // Once more: what else this machine does is not the page's doing.
    await close();
    ({ page, wrong, close } = await open(chrome, url));
    await ready(page);
    painted = await page.evaluate(() => window.lwt.paintedMs());
  }
  context.diagnostic(`first paint after ${Math.round(painted)} ms`);
  assert.ok(painted < FIRST_PAINT_MS, `painted after ${painted} ms`);
  await page.waitForFunction(() => /10,000 VMs in/.test(document.querySelector("#shown").textContent));
  const { edges, closed, outside, cut, cutAcross } = await page.evaluate(() => window.lwt.sight());
  const there = await page.evaluate(() => window.lwt.shown().edges);
  assert.equal(edges + closed + outside + cut + cutAcross, there, "each dependency is drawn or counted as not drawn");
  assert.deepEqual(wrong, []);
  await close();
});

for (const [name, hash] of [["by ensemble", "#"], ["by host, in colours", "#group=host&colour=host"], ["with a search", "#q=app1*"]]) {
  test(`the map of 10,000 VMs ${name} moves with 30 frames a second or more, however near`, async (context) => {
    const { page, close } = await open(chrome, url + hash);
    await ready(page);
    await page.waitForTimeout(500);
    for (let near = 0; near < 4; near += 1) {
      // The best of five: what else this machine does is not the map's doing.
      let best = 0;
      for (let tries = 0; tries < 5 && best < FRAMES_PER_S; tries += 1) {
        best = Math.max(best, await frames(page, async () => {
          await drag(page);
          await wheel(page, -20);
          await wheel(page, 20);
        }));
      }
      const { vms, edges, circles, camera } = await page.evaluate(() => window.lwt.sight());
      context.diagnostic(`zoom ${camera.k.toFixed(2)}: ${best.toFixed(0)} frames/s (${vms} VMs, ${edges} lines, ${circles} circles)`);
      assert.ok(best >= FRAMES_PER_S, `${best} frames/s`);
      await wheel(page, -40);
    }
    await close();
  });
}

test("the lists of 10,000 VMs come in pages", async () => {
  const { page, close } = await open(chrome, `${url}#view=vms`);
  await page.locator("#list-view", { hasText: "1 to 100 of 10,000" }).waitFor();
  await page.locator("#list-view button", { hasText: "Next" }).click();
  await page.locator("#list-view", { hasText: "101 to 200 of 10,000" }).waitFor();
  assert.equal(await page.locator("#list-view tbody tr").count(), 100);
  await close();
});
