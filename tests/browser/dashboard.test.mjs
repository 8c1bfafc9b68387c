/**
 * The dashboard of a real lwt in a real Chromium: what issue 7 asks of it.
 */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { browser, burst, faults, lwt, open, random, ready, recording, SHOTS, visit } from "./support.mjs";

let chrome;
before(async () => void (chrome = await browser()));
after(() => chrome?.close());

const words = (page, id) => page.locator(`#${id}`).textContent();
describe("the demo", () => {
  let demo, tab, page;
  before(async () => {
    demo = await lwt("demo", "--listen", "127.0.0.1:0", "--speed", "120");
    tab = await open(chrome, demo.url);
    page = tab.page;
  });
  after(async () => {
    await tab?.close();
    await demo?.stop();
  });

  test("before the first window the page says what it waits for; then the map appears by itself", async () => {
    await page.locator("#welcome", { hasText: "No window yet" }).waitFor({ timeout: 10_000 });
    await ready(page);
    const sight = await page.evaluate(() => window.lwt.sight());
    assert.ok(sight.groups.length >= 3, "ensembles");
    assert.equal(sight.nodes.length, 31, "all VMs are on the map");
    assert.ok(sight.lines.length > 10, "dependencies");
    assert.match(await words(page, "pulse"), /Live/);
    await page.waitForFunction(() => /31 VMs in \d+ ensembles/.test(document.querySelector("#shown").textContent));
  });

  test("windows come in by the stream, and whatever stays keeps its place", async () => {
    const places = () => page.evaluate(() => [window.lwt.windows(), Object.fromEntries(window.lwt.sight().groups.map((g) => [g.id, [g.size, g.world.x, g.world.y]]))]);
    const [windows, was] = await places();
    await page.waitForFunction((n) => window.lwt.windows() >= n + 4, windows, { timeout: 30_000 });
    const [, is] = await places();
    const same = Object.keys(is).filter((id) => was[id]?.[0] === is[id][0]);
    assert.ok(same.length >= 3);
    for (const id of same) assert.deepEqual(is[id], was[id]);
  });

  test("a click opens a VM, with its CPU use and dependencies; a link shows the same", async () => {
    const { id, x, y } = await page.evaluate(() => {
      const { nodes, lines } = window.lwt.sight();
      return nodes.find((node) => lines.some((line) => line.includes(node.id)));
    });
    const canvas = await page.locator("#map").boundingBox();
    await page.mouse.click(canvas.x + x, canvas.y + y);
    await page.locator("#panel h2", { hasText: id }).waitFor();
    await page.locator("#panel figure.chart path.line").first().waitFor();
    assert.ok(page.url().includes("vm="));
    const { page: other, close } = await open(chrome, page.url());
    await other.locator("#panel h2", { hasText: id }).waitFor();
    await close();
  });

  test("a pair is explained: a sentence, both curves, evidence, correlation by scale and lag", async () => {
    const [a, b] = await page.evaluate(() => window.lwt.sight().lines[0]);
    await visit(page, `#pair=${encodeURIComponent(a)}&pair=${encodeURIComponent(b)}`);
    const panel = page.locator("#panel");
    await panel.locator(".sentence", { hasText: "depend" }).waitFor({ timeout: 20_000 });
    await panel.locator("h3", { hasText: "by scale" }).waitFor();
    await panel.locator("figcaption", { hasText: "Strength over time" }).waitFor();
    assert.ok((await panel.locator("figure.chart").count()) >= 4);
    assert.ok((await panel.locator(".null-band").count()) >= 1);
  });

  test("search and filters narrow map and lists, say how much they hide, and can be cleared", async () => {
    await visit(page, "#view=vms");
    await page.locator("#q").fill("web");
    await page.waitForTimeout(300);
    const rows = await page.locator("#list-view tbody th").allTextContents();
    assert.ok(rows.length > 0 && rows.every((name) => name.includes("web")), rows.join());
    assert.match(await words(page, "list-view"), /\d+ of 31 VMs/);
    await page.locator("#q").fill("no such thing");
    await page.locator("#list-view a", { hasText: "Clear" }).click();
    assert.equal(await page.locator("#q").inputValue(), "");
    await visit(page, "#strength=0.95");
    await page.waitForFunction(() => /hidden by filters/.test(document.querySelector("#shown").textContent));
    const strong = await page.evaluate(() => window.lwt.sight().lines.length);
    await visit(page, "#");
    await page.waitForFunction((n) => window.lwt.sight().lines.length > n, strong);
    const host = await page.locator("#host option").nth(1).getAttribute("value");
    await visit(page, `#view=vms&host=${encodeURIComponent(host)}`);
    const hosts = await page.locator("#list-view tbody tr td:nth-child(2)").allTextContents();
    assert.ok(hosts.length > 0 && hosts.every((one) => one === host));
    await visit(page, "#group=host&colour=host");
    await page.waitForFunction(() => window.lwt.sight().groups.every(({ id }) => id.startsWith("host:")));
  });

  test("ensembles are collapsed and expanded", async () => {
    await visit(page, "#");
    await page.locator("#fit").click();
    await page.locator("#fold-all").click();
    await page.waitForFunction(() => window.lwt.sight().groups.every(({ id, open }) => !open || id.startsWith("hub:")));
    await page.waitForFunction(() => /drawn closed/.test(document.querySelector("#shown").textContent));
    await page.locator("#fold-all").click();
    await page.waitForFunction(() => window.lwt.sight().nodes.length === 31);
  });

  test("the keyboard alone: from one to the next, open, close, search", async () => {
    await page.locator("#map").focus();
    const said = [];
    for (const key of ["ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp"]) {
      await page.keyboard.press(key);
      said.push(await words(page, "said"));
    }
    assert.ok(new Set(said).size >= 2 && said.some((one) => /^VM .+ dependenc/.test(one)), said.join(" / "));
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.activeElement.id === "panel-title");
    await page.keyboard.press("Escape");
    await page.waitForFunction(() => !location.hash.includes("vm="));
    await page.keyboard.press("/");
    assert.equal(await page.evaluate(() => document.activeElement.id), "q");
  });

  test("the slider goes back, play comes forth again, and two moments are compared", async () => {
    await visit(page, "#");
    const first = await page.evaluate(() => {
      const slider = document.querySelector("#slider");
      slider.value = 0;
      slider.dispatchEvent(new Event("input"));
      return slider.getAttribute("aria-valuetext");
    });
    await page.locator("#pulse", { hasText: "The past" }).waitFor();
    assert.notEqual(first, await words(page, "moment"));
    const past = await page.evaluate(() => window.lwt.shown().windowEndMs);
    await page.locator("#play").click();
    await page.waitForFunction((ms) => window.lwt.shown().windowEndMs > ms, past);
    await page.locator("#play").click();
    await page.locator("#now").click();
    await page.locator("#pulse", { hasText: "Live" }).waitFor();
    await visit(page, "#view=changes&since=first");
    await page.locator("#list-view", { hasText: "between" }).waitFor();
    await visit(page, "#since=first");
    assert.ok(await page.locator("#legend-changes").isVisible());
  });

  test("exports are downloads of the moment that is shown", async () => {
    await visit(page, "#");
    await page.locator("#export summary").click();
    for (const [format, expected] of [["json", /"dependencies"/], ["csv", /^a,b,/], ["dot", /^graph/], ["svg", /^<svg/]]) {
      const download = page.waitForEvent("download");
      await page.locator(`#export a[data-format=${format}]`).click();
      assert.match(await readFile(await (await download).path(), "utf8"), expected, format);
    }
    await page.locator("#export summary").click();
  });

  for (const colorScheme of ["light", "dark"]) {
    for (const width of [1280, 400]) {
      test(`axe finds no serious fault, nothing runs out of the page: ${colorScheme}, ${width} wide`, async () => {
        const { page, wrong, close } = await open(chrome, demo.url, { colorScheme, viewport: { width, height: 850 } });
        await ready(page);
        const line = await page.evaluate(() => window.lwt.sight().lines[0] ?? ["x", "y"]);
        const [a, b] = line.map(encodeURIComponent);
        const [ensemble] = await page.evaluate(() => window.lwt.shown().ensembles);
        for (const hash of ["#", `#vm=${a}`, `#pair=${a}&pair=${b}`, `#ensemble=${ensemble}`, "#view=ensembles", "#view=vms&vm=nobody",
          "#view=dependencies", "#view=changes&since=previous", "#view=events", "#q=nothing"]) {
          await visit(page, hash);
          await page.locator(".later[aria-busy]").first().waitFor({ state: "detached", timeout: 20_000 });
          assert.deepEqual(await faults(page), [], hash);
          const wide = await page.evaluate(() => document.documentElement.scrollWidth);
          assert.ok(wide <= width, `${hash} is ${wide} wide`);
          if (SHOTS) await page.screenshot({ path: join(SHOTS, `${colorScheme}-${width}-${hash.replace(/\W+/g, "-")}.png`) });
        }
        assert.deepEqual(wrong, []);
        await close();
      });
    }
  }

  test("light and dark are switched by hand, and stay so", async () => {
    const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
    const was = await theme();
    await page.locator("#theme").click();
    assert.notEqual(await theme(), was);
    await page.reload();
    assert.notEqual(await theme(), was);
  });

  test("nothing went wrong all the while", () => assert.deepEqual(tab.wrong, []));

  test("a server that goes away is said to be away; what it said last stays", async () => {
    await ready(page);
    await demo.stop();
    await page.locator("#pulse", { hasText: "Disconnected" }).waitFor({ timeout: 10_000 });
    assert.ok((await page.evaluate(() => window.lwt.shown().vms)) > 0);
    // And back: the same port, another datacenter.
    demo = await lwt("demo", "--listen", new URL(demo.url).host, "--speed", "300", "--vms", "12");
    await page.waitForFunction(() => window.lwt.shown()?.vms === 12, null, { timeout: 40_000 });
    await page.locator("#pulse", { hasText: "Live" }).waitFor();
  });
});

test("a dependency that breaks is an event, and is gone from the map, within one window", async () => {
  const next = random(7), other = random(11), BREAKS = 600;
  const file = await recording(1500, (t) => {
    const load = burst(next), apart = burst(other), third = burst(other);
    return { web: load, db: t < BREAKS ? load * 1.5 + 3000 * next() : burst(next), mail: apart, store: apart * 0.7 + 3000 * next(), lone: third };
  });
  // A window is a second.
  const server = await lwt("serve", "--trace", file, "--speed", "60", "--listen", "127.0.0.1:0");
  const { page, wrong, close } = await open(chrome, server.url);
  await ready(page);
  const drawn = () => page.evaluate(() => window.lwt.sight().lines.some(([a, b]) => a.endsWith("db") && b.endsWith("web")));
  assert.ok(await drawn(), "web and db depend on each other at first");
  await visit(page, "#since=previous");
  const seen = await page.waitForFunction(() => {
    const event = window.lwt.events().find(({ type, data }) => type === "lwt.dependency.vanished" && data.a.endsWith("db") && data.b.endsWith("web"));
    const there = window.lwt.sight().lines.some(([a, b]) => a.endsWith("db") && b.endsWith("web"));
    return event && !there && { vanished: event.data.window_end_ms, shown: window.lwt.shown().windowEndMs };
  }, null, { timeout: 60_000 });
  const { vanished, shown } = await seen.jsonValue();
  assert.ok(shown - vanished <= 60_000, `on the map ${(shown - vanished) / 60_000} windows after the event`);
  await visit(page, `#at=${vanished}&since=previous&view=changes`);
  await page.locator("#list-view li", { hasText: "no longer depend on each other" }).waitFor();
  await visit(page, "#view=events");
  await page.locator("#list-view li", { hasText: "no longer depend on each other" }).first().waitFor();
  assert.deepEqual(wrong, []);
  await close();
  await server.stop();
});

test("a server that wants a token is asked again with one", async () => {
  const secret = "a-token-of-enough-letters", next = random(1);
  const file = await recording(420, () => ({ web: burst(next), db: burst(next) }));
  const key = join(dirname(file), "token");
  await writeFile(key, secret);
  const server = await lwt("serve", "--trace", file, "--listen", "127.0.0.1:0", "--set", `serve.token_file=${key}`);
  const { page, wrong, close } = await open(chrome, server.url);
  await page.locator("#token-value").fill(secret);
  await page.locator("#token-form button").click();
  await ready(page);
  await page.locator("#export summary").click();
  const download = page.waitForEvent("download");
  await page.locator("#export a[data-format=csv]").click();
  assert.match(await readFile(await (await download).path(), "utf8"), /^a,b,/);
  assert.ok(!page.url().includes(secret));
  assert.deepEqual(wrong, []);
  await close();
  await server.stop();
});

/** Names that strangers would give their VMs. */
const HOSTILE = ["<script>alert(1)</script>", '<img src=x onerror="alert(2)">', "\u202egnp.exe\u202c", '"];alert(3)//', "</title><b>",
  "javascript:alert(4)", "a\u200fאב", "x".repeat(240), "🦀".repeat(50), "h'o\"k&amp;", "__proto__", "constructor"];

test("hostile names change nothing", async () => {
  const next = random(3);
  const file = await recording(900, () => {
    // Two and two work together. Not a literal: `__proto__` is to be a name.
    const loads = HOSTILE.map(() => burst(next));
    return Object.fromEntries(HOSTILE.map((name, i) => [name, loads[i - (i % 2)] * (1 + i / 20) + 3000 * next()]));
  });
  const server = await lwt("serve", "--trace", file, "--speed", "300", "--listen", "127.0.0.1:0");
  const { page, wrong, close } = await open(chrome, server.url);
  await ready(page);
  const ids = await page.evaluate(async () => (await (await fetch("/api/v1/vms?limit=1000")).json()).items.map(({ vm }) => vm));
  assert.equal(ids.length, HOSTILE.length);
  const lines = await page.evaluate(() => window.lwt.sight().lines);
  assert.ok(lines.length >= HOSTILE.length / 2 - 1, "they depend on each other");
  const pairs = lines.map((pair) => `#pair=${pair.map(encodeURIComponent).join("&pair=")}`);
  for (const hash of ["#", "#view=vms", "#view=dependencies", "#view=ensembles", "#view=events", "#view=changes&since=first", "#group=host",
    ...pairs, ...ids.map((id) => `#view=vms&vm=${encodeURIComponent(id)}&q=${encodeURIComponent(Array.from(id).slice(0, 5).join(""))}`)]) {
    await visit(page, hash);
    await page.mouse.move(300, 300);
    assert.equal(await page.locator("main script, main img, main b, main :is(iframe, object, form:not(.decide))").count(), 0, hash);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${hash} runs out of the page`);
    assert.match(await page.title(), /^lwt/);
  }
  await visit(page, pairs[0]);
  await page.locator("#panel .sentence", { hasText: "depend" }).waitFor();
  if (SHOTS) await page.screenshot({ path: join(SHOTS, "hostile-pair.png") });
  await visit(page, "#view=vms");
  const listed = await page.locator("#list-view tbody th").allTextContents();
  assert.ok(listed.some((name) => name.includes("<script>alert(1)</script>")), "names are shown as they are");
  assert.ok(listed.every((name) => !/[\u202a-\u202e]/.test(name)) && listed.some((name) => name.includes("‹U+202E›")), "but for what is not seen");
  if (SHOTS) await page.screenshot({ path: join(SHOTS, "hostile.png") });
  assert.deepEqual(wrong, []);
  await close();
  await server.stop();
});
