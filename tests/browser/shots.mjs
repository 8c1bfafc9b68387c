/**
 * Makes the README's pictures anew, from real runs: node tests/browser/shots.mjs [FOLDER, shots]
 * After tests/browser/run, which installs what it takes.
 * LWT=path of the program [default: target/debug/lwt].
 */
import { execFile } from "node:child_process";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { browser, lwt, LWT, open, ready, visit } from "./support.mjs";

const folder = process.argv[2] ?? new URL("shots", import.meta.url).pathname;
const chrome = await browser();
const demo = await lwt("demo", "--listen", "127.0.0.1:0", "--speed", "120");
const decide = (body) => fetch(`${demo.url}/api/v1/decisions`, {
  method: "POST", headers: { "Content-Type": "application/json", "X-Requested-With": "lwt" }, body: JSON.stringify(body),
});

async function shot(name, hash, width, height, colorScheme) {
  const { page, close } = await open(chrome, demo.url, { colorScheme, viewport: { width, height } });
  await ready(page);
  await visit(page, hash);
  await page.locator(".later[aria-busy]").first().waitFor({ state: "detached", timeout: 20_000 });
  await page.waitForTimeout(1000);
  await page.screenshot({ path: join(folder, name) });
  await close();
}

const { page, close } = await open(chrome, demo.url);
await ready(page);
await page.waitForFunction(() => window.lwt.sight().lines.length > 20, null, { timeout: 120_000 });
const { items } = await (await fetch(`${demo.url}/api/v1/dependencies?vm=mail3-db`)).json();
const { a, b } = items[0];
const [ensemble] = (await (await fetch(`${demo.url}/api/v1/vms?q=mail3-db`)).json()).items[0].ensembles;
await decide({ decision: "named", ensemble, name: "mail" });
await close();
await shot("map.png", "#", 1280, 800, "light");
await shot("pair.png", `#pair=${encodeURIComponent(a)}&pair=${encodeURIComponent(b)}`, 1280, 800, "dark");
await shot("narrow.png", `#vm=${encodeURIComponent(a)}`, 400, 800, "light");
await shot("narrow-dark.png", "#view=ensembles", 400, 800, "dark");
await demo.stop();

const made = await mkdtemp(join(tmpdir(), "lwt-shots-"));
const run = promisify(execFile);
await run(LWT, ["simulate", "--vms", "31", "--seconds", "900", "--truth", join(made, "truth.csv"), "--output", join(made, "trace.csv")]);
await run(LWT, ["analyze", join(made, "trace.csv"), "--truth", join(made, "truth.csv"), "--report", join(made, "report.html")]);
const report = await chrome.newPage({ viewport: { width: 1100, height: 1500 } });
await report.goto(`file://${join(made, "report.html")}`);
await report.screenshot({ path: join(folder, "report.png") });
await chrome.close();
