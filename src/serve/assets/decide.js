/**
 * What people decide, who know more than CPU use says: the forms for it, and what was decided in words.
 */
import * as api from "./api.js";
import { ensembleLink, h, named, pairLink, show, vmLink } from "./dom.js";
import { time, visible } from "./format.js";
import { pairKey } from "./model.js";
import { go } from "./route.js";

/** Bytes that the server takes of a reason and of a name, in characters of one byte. */
const WHY_MOST = 500, NAME_MOST = 64;
/** Names offered while one is typed. */
const OFFERED = 20;
const SAID = { confirmed: "Confirmed", rejected: "Rejected", ignored: "Ignored", named: "Named" };

/** What is decided, found by what it is about. `items` are those of the API. */
export function book(items) {
  const pairs = new Map(), vms = new Map(), ensembles = new Map();
  for (const one of items) {
    if (one.a != null) pairs.set(pairKey(one.a, one.b), one);
    else if (one.vm != null) vms.set(one.vm, one);
    // By itself, as long as the name does not count yet; then by the name.
    else ensembles.set(one.ensemble, one).set(one.name, one);
  }
  return { items, pairs, vms, ensembles };
}

/** What a decision is about, as the API asks for it. */
const about = ({ a, b, vm, ensemble }) => (a != null ? { a, b } : vm != null ? { vm } : { ensemble });

/** The same in words that are not links, for buttons and screen readers. */
const spelled = ({ decision, a, b, vm, ensemble, name }) =>
  visible(a != null ? `${a} and ${b}: ${decision}` : vm != null ? `${vm}: ${decision}` : `${ensemble}: named ${name}`);

/** Whom it is about, and what is said of them. */
export function subject(one) {
  if (one.a != null) return pairLink(one.a, one.b, named(one.a), " and ", named(one.b));
  return one.vm != null ? vmLink(one.vm) : ensembleLink(one.ensemble);
}
export const verdict = (one) => [SAID[one.decision] ?? one.decision, one.name != null && [" ", named(one.name)]];

/**
 * A form stays the same element while the page is shown anew, for somebody may be typing; those of the last few things that
 * were looked at are kept.
 */
const kept = new Map();
function keep(key, make) {
  const made = kept.get(key) ?? make();
  kept.delete(key);
  kept.set(key, made);
  while (kept.size > 6) kept.delete(kept.keys().next().value);
  return made;
}

/** Does it, and says so; what goes wrong is said in the form. `desk` is of app.js: `done(words)`, `ask(again)`. */
async function act(form, desk, words, work) {
  const trouble = form.querySelector("[role=alert]"), buttons = form.querySelectorAll("button");
  for (const button of buttons) button.disabled = true;
  show(trouble);
  try {
    await work();
    if (form.reset) form.reset();
    await desk.done(words);
  } catch (error) {
    const again = () => act(form, desk, words, work);
    if (error.status === 401) desk.ask(again);
    show(trouble, error.message, " ", error.status === 403 &&
      h("button", { type: "button", onclick: () => desk.ask(again) }, "Use another token"));
  }
  for (const button of buttons) button.disabled = false;
}

const reason = () => h("label", {}, "Reason (optional) ",
  h("input", { id: "why", name: "why", type: "text", maxlength: WHY_MOST, autocomplete: "off" }));
const alert = () => h("p", { role: "alert", class: "bad" });

/** A form with a button for each of `choices`: `[text, decision]`; the first is what Enter does. */
function deciding(desk, choices, ...fields) {
  const form = h("form", { class: "decide", onsubmit: (event) => {
    event.preventDefault();
    const chosen = choices[Number(event.submitter?.value ?? 0)][1](form);
    const why = form.elements.why.value.trim();
    act(form, desk, spelled(chosen), () => api.decide({ ...chosen, ...(why && { why }) }));
  } }, fields, reason(),
  h("p", { class: "row" }, choices.map(([text], i) => h("button", { type: "submit", value: i, "data-key": text }, text))), alert());
  return form;
}

/** What was decided, by whom, when and why, and the way back. */
function decided(desk, one, counts) {
  return keep(`${JSON.stringify(one)} ${counts}`, () => {
    const form = h("form", { class: "decide", onsubmit: (event) => {
      event.preventDefault();
      act(form, desk, `${spelled(one)}: undone`, () => api.undo(about(one)));
    } },
    h("p", { class: "decided" }, verdict(one), " by ", named(one.who), ", ", time(one.at_ms), one.why != null && [": ", named(one.why)], ". ",
      !counts && "It counts from the next window on."),
    desk.open && h("p", { class: "row" }, h("button", { type: "submit", id: "undo", "aria-label": `Undo: ${spelled(one)}` }, "Undo")), alert());
    return form;
  });
}

const section = (title, ...content) => content.some(Boolean) && [h("h3", {}, title), content];

/** Whether two VMs depend on each other, as people see it. `edge` is what is held of them, if anything. */
export function pairForm(desk, [a, b], edge) {
  const one = desk.book.pairs.get(pairKey(a, b));
  if (one) return section("Decided", decided(desk, one, one.decision === "confirmed" ? edge?.decided != null : edge == null));
  return section("Do you know better?", desk.open && keep(`pair ${pairKey(a, b)}`, () => deciding(desk, [
    ["Confirm", () => ({ decision: "confirmed", a, b })], ["Reject", () => ({ decision: "rejected", a, b })]],
  h("p", { class: "muted" }, "Confirmed, they are held to be dependent, found or not; rejected, they are not. Until it is undone."))));
}

/** Whether a VM takes part. */
export function vmForm(desk, vm) {
  const one = desk.book.vms.get(vm.id);
  if (one) return section("Decided", decided(desk, one, vm.ignored));
  return section("Do you know better?", desk.open && keep(`vm ${vm.id}`, () => deciding(desk, [["Ignore", () => ({ decision: "ignored", vm: vm.id })]],
    h("p", { class: "muted" }, "Backup and monitoring touch everything: ignored, a VM takes part in nothing, and makes no ensemble of others."))));
}

/** What an ensemble is called. */
export function nameForm(desk, id) {
  const one = desk.book.ensembles.get(id);
  if (one) return section("Decided", decided(desk, one, one.name === id));
  const field = () => h("label", {}, "Name ", h("input", { id: "name", name: "name", type: "text", required: true, maxlength: NAME_MOST, autocomplete: "off" }));
  return section("Do you know better?", desk.open && keep(`ensemble ${id}`, () => deciding(desk, [["Name", (form) =>
    ({ decision: "named", ensemble: id, name: form.elements.name.value.trim() })]], field())));
}

/** Looks at a VM together with another one: that is where a dependency is added that was not found. */
export function pairWith(desk, id) {
  return keep(`with ${id}`, () => {
    const offered = h("datalist", { id: "others" });
    const offer = () => {
      const part = field.value.toLowerCase();
      const fit = desk.vms().filter((vm) => vm !== id && vm.toLowerCase().includes(part)).slice(0, OFFERED);
      show(offered, fit.map((vm) => h("option", { value: vm })));
    };
    const field = h("input", { id: "other", name: "other", type: "text", required: true, list: "others", autocomplete: "off", oninput: offer, onfocus: offer });
    const form = h("form", { class: "decide", onsubmit: (event) => {
      event.preventDefault();
      const other = field.value;
      if (other === id || !desk.vms().includes(other)) return show(form.querySelector("[role=alert]"), "There is no such other VM at this moment.");
      show(form.querySelector("[role=alert]"));
      go({ pair: [id, other], vm: null, ensemble: null });
    } }, h("label", {}, "Together with ", field), offered, h("p", { class: "row" }, h("button", { type: "submit" }, "Look at the two")), alert());
    return form;
  });
}

/** A line's way back, in the list of all that is decided. */
export function undoButton(desk, one) {
  const place = h("span", {}, h("button", { type: "button", "aria-label": `Undo: ${spelled(one)}`, onclick: () =>
    act(place, desk, `${spelled(one)}: undone`, () => api.undo(about(one))) }, "Undo"), h("span", { role: "alert", class: "bad" }));
  return place;
}
