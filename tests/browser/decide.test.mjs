/**
 * People decide what they know better, in the dashboard of a real lwt in a real Chromium; and where VMs might be placed.
 */
import assert from "node:assert/strict";
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { browser, faults, lwt, open, ready, SHOTS, visit } from "./support.mjs";

let chrome;
before(async () => void (chrome = await browser()));
after(() => chrome?.close());

const pairHash = (a, b) => `#pair=${encodeURIComponent(a)}&pair=${encodeURIComponent(b)}`;
const sight = (page) => page.evaluate(() => window.lwt.sight());
/** Until the map marks a pair as decided so, or not at all. */
const marked = (page, pair, how) => page.waitForFunction(([[a, b], how]) => {
  const found = window.lwt.sight().marks.find(([x, y]) => (x === a && y === b) || (x === b && y === a));
  return (found?.[2] ?? null) === how;
}, [pair, how], { timeout: 20_000 });
/** Until so many windows more are shown. */
const windows = async (page, n) => {
  const known = await page.evaluate(() => window.lwt.windows());
  await page.waitForFunction((want) => window.lwt.windows() >= want, known + n, { timeout: 20_000 });
};

describe("in the demo", () => {
  let demo, tab, page, panel;
  before(async () => {
    demo = await lwt("demo", "--listen", "127.0.0.1:0", "--speed", "120");
    tab = await open(chrome, demo.url);
    page = tab.page;
    panel = page.locator("#panel");
    await ready(page);
    await windows(page, 3);
  });
  after(async () => {
    await tab?.close();
    await demo?.stop();
  });

  test("a dependency that is not found is added: two VMs are chosen, and confirmed, with a reason", async () => {
    const [a, b] = await page.evaluate(() => {
      const { nodes, lines } = window.lwt.sight();
      const busy = [...new Set(lines.flat())], free = nodes.map(({ id }) => id).find((id) => !busy.includes(id));
      return [free ?? busy[0], busy.find((id) => id !== free && !lines.some((line) => line.includes(id) && line.includes(free ?? busy[0])))];
    });
    await visit(page, `#vm=${encodeURIComponent(a)}`);
    await page.locator("#other").fill("nobody at all");
    await panel.locator("button", { hasText: "Look at the two" }).click();
    await panel.locator("[role=alert]", { hasText: "no such other VM" }).waitFor();
    await page.locator("#other").fill(b.slice(0, -1));
    await page.waitForFunction((want) => [...document.querySelectorAll("#others option")].some(({ value }) => value === want), b);
    await page.locator("#other").fill(b);
    await page.keyboard.press("Enter");
    await panel.locator("h2", { hasText: b }).waitFor();
    // Windows come in while somebody types: nothing is lost, neither the text nor the place in it.
    await page.locator("#why").pressSequentially("in the book");
    await page.keyboard.press("ArrowLeft");
    await windows(page, 3);
    await page.keyboard.type("note");
    assert.equal(await page.locator("#why").inputValue(), "in the boonotek");
    await page.locator("#why").fill("in the runbook");
    await panel.locator("button", { hasText: "Confirm" }).click();
    await panel.locator(".decided", { hasText: "Confirmed by somebody on this machine" }).waitFor();
    assert.match(await panel.locator(".decided").textContent(), /in the runbook/);
    await page.waitForFunction(() => document.activeElement?.id === "undo");
    assert.match(await page.locator("#told").textContent(), /: confirmed/);
    await marked(page, [a, b], "confirmed");
    await panel.locator("dd", { hasText: "somebody confirmed it; it is not found" }).waitFor();
    await visit(page, "#view=dependencies");
    await page.locator("#list-view tr", { hasText: "confirmed" }).first().waitFor();
  });

  test("one that is found is rejected, with the keyboard alone, and found again when that is undone", async () => {
    await visit(page, "#");
    const pair = await page.evaluate(() => {
      const { lines, marks } = window.lwt.sight();
      return lines.find((line) => !marks.some((mark) => line.every((vm) => mark.includes(vm))));
    });
    await visit(page, pairHash(...pair));
    await panel.locator("button", { hasText: "Reject" }).focus();
    await page.keyboard.press("Enter");
    await panel.locator(".decided", { hasText: "Rejected" }).waitFor();
    await marked(page, pair, "rejected");
    // Marked at once, no longer held with the next window.
    await page.waitForFunction((pair) => !window.lwt.sight().lines.some((line) => line.every((vm) => pair.includes(vm))), pair);
    await page.waitForFunction(() => /rejected 1 /.test(document.querySelector("#shown").textContent));
    if (SHOTS) await page.screenshot({ path: join(SHOTS, "rejected.png") });
    await page.locator("#undo").focus();
    await page.keyboard.press("Enter");
    await panel.locator("button", { hasText: "Confirm" }).waitFor();
    await page.waitForFunction((pair) => window.lwt.sight().lines.some((line) => line.every((vm) => pair.includes(vm))), pair);
  });

  test("a VM is ignored: it depends on nobody, and that is to be seen", async () => {
    const vm = await page.evaluate(() => window.lwt.sight().lines.at(-1)[0]);
    await visit(page, `#vm=${encodeURIComponent(vm)}`);
    await panel.locator("button", { hasText: "Ignore" }).click();
    await panel.locator("dd", { hasText: "ignored: somebody decided" }).waitFor({ timeout: 20_000 });
    assert.ok(!(await sight(page)).lines.flat().includes(vm));
    await visit(page, "#view=events");
    await page.locator("#list-view li", { hasText: "is ignored" }).first().waitFor();
    await visit(page, `#view=vms&q=${encodeURIComponent(vm)}`);
    await page.locator("#list-view td", { hasText: "ignored" }).waitFor();
  });

  test("an ensemble gets a name, whatever is in it, and its page stays", async () => {
    const name = "<b>shop</b> & co";
    await visit(page, "#");
    const id = await page.evaluate(() => window.lwt.shown().ensembles.find((one) => /^e\d+$/.test(one)));
    await visit(page, `#ensemble=${id}`);
    await page.locator("#name").fill("e99");
    await panel.locator("button", { hasText: /^Name$/ }).click();
    await panel.locator("[role=alert]", { hasText: "choose another name" }).waitFor();
    await page.locator("#name").fill(name);
    await page.keyboard.press("Enter");
    await panel.locator(".decided", { hasText: "Named" }).waitFor();
    await page.waitForFunction((name) => window.lwt.shown().ensembles.includes(name), name, { timeout: 20_000 });
    await panel.locator("h2", { hasText: name }).waitFor();
    assert.equal(await page.locator("#panel b").count(), 0);
  });

  test("all of it is in a list, which is exported, and the way back", async () => {
    await visit(page, "#view=decisions");
    const rows = page.locator("#list-view tbody tr");
    await page.waitForFunction(() => document.querySelectorAll("#list-view tbody tr").length === 3);
    assert.match((await rows.allTextContents()).join(), /confirmed|Confirmed/);
    for (const [file, expected] of [["ndjson", /^\{"v":1,"decision":"confirmed"/], ["csv", /^decision,a,b,vm,/]]) {
      const download = page.waitForEvent("download");
      await page.locator(`#list-view a[download="decisions.${file}"]`).click();
      assert.match(await readFile(await (await download).path(), "utf8"), expected);
    }
    if (SHOTS) await page.screenshot({ path: join(SHOTS, "decisions.png") });
    for (let left = 3; left > 0; left -= 1) {
      await rows.first().locator("button", { hasText: "Undo" }).click();
      await page.waitForFunction((n) => document.querySelectorAll("#list-view tbody tr").length === n, left - 1);
    }
    await page.locator("#list-view", { hasText: "Nothing is decided." }).waitFor();
    await visit(page, "#");
    await page.waitForFunction(() => window.lwt.sight().marks.length === 0 && window.lwt.shown().ensembles.every((one) => !one.includes("shop")), null, { timeout: 20_000 });
  });

  test("who decides elsewhere is seen here", async () => {
    await visit(page, "#view=decisions");
    const answer = await fetch(`${demo.url}/api/v1/decisions`, { method: "POST",
      headers: { "Content-Type": "application/json", "X-Requested-With": "lwt" }, body: JSON.stringify({ decision: "ignored", vm: "not/there" }) });
    assert.equal(answer.status, 200);
    await page.locator("#list-view tbody tr", { hasText: "there" }).waitFor({ timeout: 5_000 });
    await page.locator("#list-view tbody tr", { hasText: "there" }).locator("button").click();
    await page.locator("#list-view", { hasText: "Nothing is decided." }).waitFor();
  });

  test("hints for placement: ensembles spread over hosts, and VMs that others need", async () => {
    await visit(page, "#view=placement");
    await page.locator("#list-view h3", { hasText: "that others need" }).waitFor();
    assert.ok((await page.locator("#list-view [aria-labelledby=apart-title] tbody tr").count()) > 2);
    if (SHOTS) await page.screenshot({ path: join(SHOTS, "placement.png") });
  });

  for (const colorScheme of ["light", "dark"]) {
    for (const width of [1280, 400]) {
      test(`axe finds no serious fault, nothing runs out of the page: ${colorScheme}, ${width} wide`, async () => {
        const { page, wrong, close } = await open(chrome, demo.url, { colorScheme, viewport: { width, height: 850 } });
        await ready(page);
        // On a narrow page ensembles are drawn closed, and no line by itself.
        const { a, b } = await page.evaluate(async () => (await (await fetch("/api/v1/dependencies?limit=1")).json()).items[0]);
        const [ensemble] = await page.evaluate(() => window.lwt.shown().ensembles);
        const look = async (hash) => {
          await visit(page, hash);
          await page.locator(".later[aria-busy]").first().waitFor({ state: "detached", timeout: 20_000 });
          assert.deepEqual(await faults(page), [], hash);
          assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= width, `${hash} runs out of the page`);
          if (SHOTS) await page.screenshot({ path: join(SHOTS, `decide-${colorScheme}-${width}-${hash.replace(/\W+/g, "-")}.png`), fullPage: true });
        };
        for (const hash of [pairHash(a, b), `#vm=${encodeURIComponent(a)}`, `#ensemble=${ensemble}`, "#view=decisions", "#view=placement"]) await look(hash);
        await visit(page, pairHash(a, b));
        await page.locator("#why").fill("it is in the runbook, and somebody who knows said so, at some length");
        await page.locator("#panel button", { hasText: "Confirm" }).click();
        await page.locator("#panel dd", { hasText: "somebody confirmed it" }).waitFor({ timeout: 20_000 });
        for (const hash of [pairHash(a, b), "#view=decisions", "#"]) await look(hash);
        await visit(page, pairHash(a, b));
        await page.locator("#undo").click();
        await page.locator("#panel button", { hasText: "Confirm" }).waitFor();
        assert.deepEqual(wrong, []);
        await close();
      });
    }
  }

  test("nothing went wrong all the while", () => assert.deepEqual(tab.wrong, []));
});

test("who decides shows a token of their own, and is named", async () => {
  const file = join(await mkdtemp(join(tmpdir(), "lwt-browser-")), "deciders");
  await writeFile(file, "eve an-eve-of-enough-letters\n");
  process.env.LWT_SERVE_WRITE_TOKEN_FILE = file;
  const demo = await lwt("demo", "--listen", "127.0.0.1:0", "--speed", "120").finally(() => delete process.env.LWT_SERVE_WRITE_TOKEN_FILE);
  const { page, wrong, close } = await open(chrome, demo.url);
  await ready(page);
  const [a, b] = await page.evaluate(() => window.lwt.sight().lines[0]);
  await visit(page, pairHash(a, b));
  await page.locator("#panel button", { hasText: "Confirm" }).click();
  const dialog = page.locator("#token");
  await dialog.locator("h2", { hasText: "may decide" }).waitFor();
  await page.locator("#token-value").fill("not-the-token-of-eve");
  await page.locator("#token-form button").click();
  await dialog.locator("h2", { hasText: "may decide" }).waitFor();
  await page.locator("#token-value").fill("an-eve-of-enough-letters");
  await page.locator("#token-form button").click();
  await page.locator("#panel .decided", { hasText: "Confirmed by eve" }).waitFor();
  assert.deepEqual(wrong, []);
  await close();
  await demo.stop();
});

/** Names and reasons that strangers would give. */
const HOSTILE = ["<script>alert(1)</script>", '<img src=x onerror="alert(2)">', "\u202egnp.exe\u202c", "__proto__", "x".repeat(240)];

test("hostile names change nothing where people decide", async () => {
  const demo = await lwt("demo", "--listen", "127.0.0.1:0", "--speed", "120");
  const { page, wrong, close } = await open(chrome, demo.url, { acceptDownloads: true });
  const said = HOSTILE.flatMap((name, i) => [
    { v: 1, decision: "confirmed", a: name, b: HOSTILE[(i + 1) % HOSTILE.length], at_ms: 1e12 + i, who: name, why: name },
    { v: 1, decision: "ignored", vm: name, at_ms: 1e12 + i, who: name },
    { v: 1, decision: "named", ensemble: name, name: `${name}!`, at_ms: 1e12 + i, who: name },
  ]);
  const changed = [];
  await page.route("**/api/v1/decisions*", (route) => {
    const request = route.request();
    if (request.method() !== "GET") changed.push([request.method(), request.url(), request.headers()["x-requested-with"]]);
    return route.fulfill({ json: request.method() === "GET" ? { window_end_ms: 0, total: said.length, items: said, next: null } : said[0] });
  });
  await page.reload();
  await ready(page);
  for (const hash of ["#view=decisions", "#view=placement", ...HOSTILE.map((name, i) => pairHash(name, HOSTILE[(i + 1) % HOSTILE.length]))]) {
    await visit(page, hash);
    assert.equal(await page.locator("main script, main img, main b, main :is(iframe, object)").count(), 0, hash);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${hash} runs out of the page`);
  }
  await page.locator("#undo").click();
  await page.waitForTimeout(300);
  await visit(page, "#view=decisions");
  await page.locator("#list-view tbody tr").nth(4).locator("button").click();
  await page.waitForTimeout(300);
  const [[method, url, ours]] = changed;
  assert.deepEqual([method, new URL(url).searchParams.get("a"), ours], ["DELETE", HOSTILE.at(-1), "lwt"]);
  assert.equal(changed.length, 2);
  assert.ok((await page.locator("#list-view tbody").textContent()).includes("‹U+202E›"), "what is not seen is shown");
  if (SHOTS) await page.screenshot({ path: join(SHOTS, "hostile-decisions.png") });
  assert.deepEqual(wrong, []);
  await close();
  await demo.stop();
});
