/**
 * What the browser tests share: a real lwt, a real Chromium, recordings made on the spot.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** The program under test. */
export const LWT = process.env.LWT ?? join(ROOT, "target/debug/lwt");
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
/** With a folder named here, pictures of the page are left in it. */
export const SHOTS = process.env.SHOTS;

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Starts lwt; `url` is where its dashboard is, `stop()` ends it. */
export async function lwt(...args) {
  const child = spawn(LWT, args, { stdio: ["ignore", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout });
  const url = await new Promise((found, failed) => {
    child.once("exit", (code) => failed(new Error(`lwt ${args.join(" ")} ended with ${code}`)));
    lines.on("line", (line) => {
      const said = /dashboard: (http:\S+)/.exec(line);
      if (said) found(said[1]);
    });
  });
  const stop = async () => {
    if (child.exitCode != null || child.signalCode != null) return;
    child.kill("SIGTERM");
    await once(child, "exit");
  };
  return { url, stop };
}

export const browser = () => chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });

/**
 * A page of its own, which remembers everything that ought not to happen: errors, dialogs, requests to elsewhere.
 * `ready` waits for the map.
 */
export async function open(chrome, url, options = {}) {
  const context = await chrome.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: "reduce", ...options });
  const page = await context.newPage(), wrong = [];
  page.on("pageerror", (error) => wrong.push(`error: ${error.message}`));
  page.on("dialog", (dialog) => {
    wrong.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("console", (message) => {
    // That a server is gone, or wants a token, is for the page to say, and it does.
    if (message.type() === "error" && !/Failed to load resource|net::ERR/.test(message.text())) wrong.push(message.text());
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(new URL(url).origin) && !/^(data|blob):/.test(request.url())) wrong.push(`request: ${request.url()}`);
  });
  await page.goto(url);
  return { page, wrong, close: () => context.close() };
}

export const ready = (page, timeout = 60_000) =>
  page.waitForFunction(() => window.lwt?.paintedMs() != null && window.lwt.sight().vms + window.lwt.sight().circles > 0, null, { timeout });

/** A recording of `seconds`, as sample messages. `cpu(t)` gives what each VM uses: `{name: ppm}`. */
export async function recording(seconds, cpu) {
  const lines = [];
  for (let t = 0; t < seconds; t += 1) {
    const vms = Object.entries(cpu(t)).map(([name, ppm]) => ({ id: name, name, cpu_ppm: Math.round(ppm) }));
    lines.push(JSON.stringify({ v: 1, host: "h1", t_ms: 1_700_000_000_000 + 1000 * (t + 1), period_ms: 1000, vms }));
  }
  const file = join(await mkdtemp(join(tmpdir(), "lwt-browser-")), "recording.ndjson");
  await writeFile(file, `${lines.join("\n")}\n`);
  return file;
}

/** Numbers from 0 to 1 that are always the same. */
export function random(seed) {
  let x = seed;
  return () => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return x / 4294967296;
  };
}

/** Load that comes in bursts: 2 % of a core, and now and then much more. */
export const burst = (next) => 20_000 + 5000 * next() + (next() < 0.15 ? 400_000 * next() : 0);

/** Goes to a view by its address, as somebody with whom it was shared would. */
export const visit = async (page, hash) => {
  await page.evaluate((to) => void (location.hash = to), hash);
  await page.waitForTimeout(400);
};

/** Serious faults that axe finds. The page's policy lets no script in but its own: axe is brought in from outside of it. */
export async function faults(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => window.axe.run(document));
  return violations.filter(({ impact }) => ["serious", "critical"].includes(impact))
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html.slice(0, 160)} ${failureSummary}`).slice(0, 3).join(" | ")}`);
}
