/**
 * Talks to the server: JSON, lists page by page, the stream of events. Asks for a token once if the server wants one.
 */

const ROOT = "/api/v1/";
/** The server's most per page. */
const PAGE = 20_000;
/** A stream that says nothing for so long is dead: the server says something every 15 s. */
const SILENCE_MS = 45_000;
const RETRY_MOST_MS = 15_000;

/** What the server answered; `status` 0: nothing at all. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** A token lives as long as the tab. `write` is that of who decides: whoever looks need not know it. */
const stored = (key) => ({ get: () => sessionStorage.getItem(key), set: (value) => sessionStorage.setItem(key, value) });
export const token = { ...stored("lwt-token"), write: stored("lwt-write-token") };

async function request(path, signal, { shown = token.get(), headers = {}, ...more } = {}) {
  if (shown) headers.Authorization = `Bearer ${shown}`;
  let response;
  try {
    response = await fetch(ROOT + path, { headers, signal, cache: "no-store", ...more });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The server does not answer.");
  }
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  throw new ApiError(response.status, said.error ?? `The server answered ${response.status}.`);
}

/** `{a: 1, vm: ["x", "y"], b: null}` -> "a=1&vm=x&vm=y" */
export function query(params) {
  const said = new URLSearchParams();
  for (const [key, value] of Object.entries(params)) {
    for (const one of [value].flat()) if (one != null && one !== "") said.append(key, one);
  }
  return said.toString();
}

export const get = async (what, params = {}, signal) => (await request(`${what}?${query(params)}`, signal)).json();

/** All items of a list, page by page, with `window_end_ms` of the first page. */
export async function list(what, params = {}, signal) {
  const items = [];
  let after = null, windowEndMs = null;
  do {
    const page = await get(what, { ...params, limit: PAGE, after }, signal);
    windowEndMs ??= page.window_end_ms;
    for (const item of page.items) items.push(item);
    after = page.next;
  } while (after != null);
  return { items, windowEndMs };
}

/** The address of a download; with a token it must be fetched by `blob`. */
export const exportUrl = (format, at) => `${ROOT}export?${query({ format, at })}`;
export const decisionsUrl = (format) => `${ROOT}decisions?${query({ format })}`;
export const blob = async (url) => (await request(url.slice(ROOT.length))).blob();

/** Changes something. The server wants to be sure that no page from elsewhere asks. */
const change = async (path, method, headers, body) => (await request(path, undefined, {
  shown: token.write.get() ?? token.get(), method, headers: { "X-Requested-With": "lwt", ...headers }, body })).json();

/** Decides something: `{decision: "confirmed", a, b, why}` and so on. */
export const decide = (decision) => change("decisions", "POST", { "Content-Type": "application/json" }, JSON.stringify(decision));
/** Undoes what was decided about `{a, b}`, `{vm}` or `{ensemble}`. */
export const undo = (about) => change(`decisions?${query(about)}`, "DELETE", {});

/**
 * Reads server-sent events from chunks of text: `feed` takes the next chunk and calls `on(event, data)` for each whole
 * event. What is not whole yet is kept. Comments are skipped.
 */
export function sseParser(on) {
  let rest = "";
  return (chunk) => {
    const blocks = (rest + chunk).split(/\r?\n\r?\n/);
    rest = blocks.pop();
    for (const block of blocks) {
      let event = "message";
      const data = [];
      for (const line of block.split(/\r?\n/)) {
        if (line.startsWith("event:")) event = line.slice(6).trim();
        else if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
      }
      if (data.length > 0 || event === "lost") on(event, data.join("\n"));
    }
  };
}

/**
 * Follows the stream for ever. `handlers`: `open()`, `event(name, data)`, `closed(retryInMs)`. A stream that ends or
 * falls silent is opened again, later and later.
 */
export async function follow(handlers) {
  for (let failures = 0; ; failures += 1) {
    const abort = new AbortController();
    let silence;
    const heard = () => {
      clearTimeout(silence);
      silence = setTimeout(() => abort.abort(), SILENCE_MS);
    };
    try {
      heard();
      const body = (await request("events/stream", abort.signal)).body;
      failures = 0;
      handlers.open();
      const reader = body.pipeThrough(new TextDecoderStream()).getReader();
      const feed = sseParser(handlers.event);
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        heard();
        feed(part.value);
      }
    } catch (error) {
      if (error.status === 401) return;
    } finally {
      clearTimeout(silence);
    }
    const wait = Math.min(RETRY_MOST_MS, 1000 * 2 ** failures);
    handlers.closed(wait);
    await new Promise((done) => setTimeout(done, wait));
  }
}
