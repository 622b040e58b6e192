import { ClassButtons } from "./class_buttons.js";
import { ClassDialog } from "./change_classes.js";
import { Clock } from "./clock.js";
import { drawStrip } from "./filmstrip.js";
import { Grid } from "./grid.js";
import { keysOf, meaning } from "./keys.js";
import { Saving, send } from "./saving.js";
import { showConflicts } from "./conflicts.js";
import { Suggestion } from "./suggestion.js";
import { Zoom } from "./zoom.js";

// The label of an image that has none of the classes, where images can have several labels.
const NONE = "none";
const $ = (id) => document.getElementById(id);
const me = [...crypto.getRandomValues(new Uint32Array(4))].join("-");

let batch = null;
let items = [];
let at = 0;
// "seen" once the image is shown, "lost" if it can't be shown; else "".
let sight = "";
let keys = new Map();
// Actions that wait for an undo to be saved.
let held = [];
// Number of actions that the server has saved.
let savedCount = 0;
// Number of further requests for the batch if another window seems to be active: right after a reload, that window
// may be this page itself, because the server learns of its end with a delay.
let claimRetries = performance.getEntriesByType("navigation")[0]?.type === "reload" ? 5 : 0;
// The key of `NONE`: 0, unless a class has it.
let noneKey = "0";
// Whether this is a second look at labels.
let reviewing = false;
const places = new Map();
const saving = new Saving(me, { saved, failed, rejected, taken });
const zoom = new Zoom($("frame"), $("image"));
const clock = new Clock();
const buttons = new ClassButtons({ target: $("classes"), seek: $("seek"), find: $("find") }, choose);
const suggestion = new Suggestion(
  {
    row: $("suggestion"), button: $("accept"), none: $("no-suggestion"), name: $("suggested"), confidence: $("confidence"),
    option: $("suggestions-option"), show: $("suggestions"), age: $("predictions"),
  },
  {
    accept: (name) => mark(name, false),
    changed: () => {
      pressed();
      grid.refresh();
    },
  },
);
const dialog = new ClassDialog($("changing"), changeClasses);
const grid = new Grid({
  ask: (to, message) => send(to, { window: me, ...message }),
  act,
  batch: () => batch,
  suggests: () => suggestion.on,
  unsaved: () => saving.waiting,
  isLabeled,
  say: (text) => ($("heard").textContent = text),
  trouble,
  key: press,
});

// ---- state

function load(state) {
  const first = batch === null;
  batch = state;
  items = state.items.map(([index, path, label, skipped]) => ({ index, path, label, skipped }));
  places.clear();
  items.forEach((item, place) => places.set(item.index, place));
  reviewing = Object.keys(state.doubts).length > 0;
  check(state.checked, items);
  if (first && reviewing) grid.showAll();
  document.title = `${state.name} · labeling`;
  $("name").textContent = state.name;
  $("file").textContent = `Labels of ${state.dataset} are saved in ${state.file}`;
  $("new").hidden = state.fixed;
  $("none-of").hidden = !state.multilabel;
  // One key labels all selected images there, which would replace their other labels.
  // "Has none of the classes" is a label; there is no queue of images for which a class is missing.
  $("grid-toggle").hidden = $("unsure").hidden = state.multilabel;
  $("verdict").hidden = !state.verdict.length;
  $("verdict-title").textContent = `Round ${state.round.number}`;
  $("verdict-text").replaceChildren(...state.verdict.map((sentence) => Object.assign(document.createElement("li"), { textContent: sentence })));
  $("copies-keep").checked = false;
  buttons.references = state.references;
  suggestion.load(state.suggestions, state.round);
  setClasses(state.classes);
  conflicts(state.conflicts);
  $("undo").disabled = !state.canUndo && !saving.waiting.length;
}

function setClasses(classes) {
  batch.classes = classes;
  keys = keysOf(classes);
  const used = [...keys.values()];
  noneKey = [..."0=;"].find((key) => !used.includes(key));
  $("none-key").textContent = noneKey;
  $("change").hidden = batch.fixed || batch.multilabel || !classes.length;
  buttons.draw(classes, keys, batch.fixed);
  pressed();
  grid.classesChanged();
}

function conflicts(found) {
  showConflicts($("conflicts"), found, (index, [label, skipped]) => act(label, skipped, [index], {}));
}

// The classes of a label: one, or where images can have several labels any number.
function classesOf(label) {
  if (!batch.multilabel) return label ? [label] : [];
  return label && label !== NONE ? label.split("|") : [];
}

function isLabeled(item) {
  return item.label !== "" && (!batch.fixed || classesOf(item.label).every((name) => batch.classes.includes(name)));
}
// In a second look, every image has a label already, and is done once it was given again.
const isOpen = (item) => (reviewing ? !item.checked : !isLabeled(item) && !item.skipped);

function check(indices, among) {
  const checked = new Set(indices);
  for (const item of among) item.checked = checked.has(item.index);
}

function nextOpen(from) {
  const order = [...items.keys()];
  return [...order.slice(from), ...order.slice(0, from)].find((place) => isOpen(items[place]));
}

// ---- display

function show(place) {
  if (place < 0 || place >= items.length) return;
  at = place;
  const item = items[at];
  const image = $("image");
  sight = "";
  delete document.body.dataset.shown;
  $("gone").hidden = true;
  image.classList.toggle("pixels", batch.pixels);
  image.classList.add("away");
  image.alt = `${item.path}, the image to label`;
  image.src = `image/${item.index}`;
  zoom.reset();
  clock.look(item.index);
  lookAt(item);
  $("place").textContent = `${at + 1} of ${items.length}`;
  $("path").textContent = item.path;
  $("path").href = `image/${item.index}`;
  $("back").disabled = at === 0;
  $("forward").disabled = at === items.length - 1;
  counts();
  strip();
  $("heard").textContent = `Image ${at + 1} of ${items.length}, ${item.path}, ${describe(item) || "not labeled"}`;
  for (const near of [items[at + 1], items[at + 2]]) if (near) new Image().src = `image/${near.index}`;
}

// Says what is special about an image: other copies, another class before, a file that was changed.
async function lookAt(item) {
  const copies = batch.copies[item.index] ?? 0;
  $("copies").hidden = !copies;
  $("copies-count").textContent = copies === 1 ? "1 exact copy" : `${copies} exact copies`;
  const waiting = batch.queue.find(([index]) => index === item.index);
  $("before").textContent = reviewing ? (batch.doubts[item.index] ?? "") : !waiting || item.label ? "" : waiting[1] === "split" ? `was “${waiting[2]}”, which was split: label it again` : "none of the classes fits";
  $("altered").textContent = "";
  if (batch.pixels) return;
  const { problem } = await send("look", { index: item.index }).catch(() => ({ problem: "" }));
  if (items[at] === item) $("altered").textContent = problem;
}

function shown(how) {
  sight = how;
  document.body.dataset.shown = items[at].index;
  release();
}

const undoing = () => saving.waiting.some((each) => each.do === "undo");

// Do what was asked for while an undo was being saved.
function release() {
  if (held.length && !undoing()) held.shift()();
}

$("image").addEventListener("load", () => {
  $("image").classList.remove("away");
  shown("seen");
});

$("image").addEventListener("error", async () => {
  const item = items[at];
  let why = "";
  try {
    const response = await fetch(`image/${item.index}`);
    why = response.ok ? "The browser can't show it." : (await response.json()).error;
  } catch {
    // The program does not answer.
  }
  if (items[at] !== item || sight) return;
  $("gone").textContent = why ? `This image can't be shown; skip it. ${why}` : "Waiting for the program.";
  $("gone").hidden = false;
  $("heard").textContent = $("gone").textContent;
  if (why) shown("lost");
  else setTimeout(() => items[at] === item && !sight && show(at), 2000);
});

function describe(item) {
  if (item.skipped) return "skipped";
  if (item.label && !isLabeled(item)) return `“${item.label}” is not a class: choose one`;
  return item.label;
}

function pressed() {
  const item = items[at];
  if (!item) return;
  suggestion.show(item.index);
  // In the grid, no button is that of the image.
  const [label, suggested] = grid.isOpen ? ["", ""] : [item.label, suggestion.label];
  buttons.mark(item.index, classesOf(label), classesOf(suggested), batch.pixels);
  $("none-of").setAttribute("aria-pressed", label === NONE);
  $("mark").textContent = describe(item);
}

function counts() {
  const labeled = items.filter(isLabeled).length;
  const skipped = items.filter((item) => item.skipped && !isLabeled(item)).length;
  const left = items.filter(isOpen).length;
  $("progress").max = items.length;
  $("progress").value = items.length - left;
  const passed = skipped ? `, ${skipped} skipped` : "";
  const done = reviewing ? `${items.length - left - skipped} checked${passed}` : `${labeled} labeled${passed}`;
  $("left").textContent = `${done}, ${left} left`;
  $("done").hidden = left > 0;
  $("look-again").hidden = skipped === 0;
  $("done-title").textContent = reviewing ? "All labels checked" : skipped ? "All images seen" : "All images labeled";
  $("done-text").textContent = `${done}.`;
  $("next-command").textContent = batch.next;
  pressed();
}

function strip() {
  drawStrip($("strip"), items, at, { pixels: batch.pixels, describe, go: (item) => show(places.get(item.index)) });
}

// ---- actions

// Label, skip or clear images as one action, which is shown now and saved soon.
function act(label, skipped, indices, more) {
  apply(indices.map((index) => [index, label, skipped]));
  const what = label ? { do: "label", label } : { do: skipped ? "skip" : "clear" };
  saving.add({ ...what, images: indices, ...more });
  showSaved();
}

function apply(changes) {
  for (const [index, label, skipped] of changes) {
    const item = items[places.get(index)];
    if (item) Object.assign(item, { label, skipped, checked: Boolean(label || skipped) });
    if (!batch.multilabel) buttons.learn(index, label);
  }
  grid.update(changes);
  counts();
}

function mark(label, skipped, more = {}) {
  // A key pressed right after undo is for the image that undo shows.
  if (undoing()) {
    held.push(() => mark(label, skipped, more));
    return;
  }
  if (grid.isOpen) return grid.mark(label, skipped, more);
  // An image can be labeled only once it is shown.
  if (!sight || (label && sight === "lost")) return;
  const { index } = items[at];
  const copies = !$("copies").hidden && $("copies-keep").checked;
  act(label, skipped, [index], { seconds: clock.take(index), suggested: suggestion.on, ...(copies && { copies }), ...more });
  const next = label || skipped ? nextOpen(at) : at;
  if (next === undefined) {
    show(at);
    $("heard").textContent = `${$("done-title").textContent}. ${$("done-text").textContent}`;
  } else show(next);
}

// Label the image with a class; where images can have several labels, switch the class on or off and stay.
function choose(name) {
  if (!batch.multilabel) return mark(name, false);
  if (undoing()) {
    held.push(() => choose(name));
    return;
  }
  if (!sight || sight === "lost") return;
  const item = items[at];
  const before = classesOf(item.label);
  const after = before.includes(name) ? before.filter((each) => each !== name) : [...before, name];
  const label = name === NONE ? (item.label === NONE ? "" : NONE) : after.join("|");
  const copies = !$("copies").hidden && $("copies-keep").checked;
  act(label, false, [item.index], { seconds: clock.take(item.index), suggested: suggestion.on, ...(copies && { copies }) });
  strip();
  $("heard").textContent = describe(item) || "not labeled";
}

// Accept the suggestion of an image without a label, else go to the next one.
function acceptLabelSet() {
  if (!items[at].label && suggestion.label) return mark(suggestion.label, false);
  const next = nextOpen(at + 1);
  if (next !== undefined) show(next);
}

const actions = {
  undo: () => {
    if ($("undo").disabled) return;
    saving.add({ do: "undo" });
    showSaved();
  },
  skip: () => mark("", true),
  clear: () => mark("", false),
  unsure: () => batch.multilabel || mark("", true, { do: "unsure" }),
  accept: () => {
    const label = reviewing ? items[at].label : suggestion.label;
    if (batch.multilabel) acceptLabelSet();
    else if (grid.isOpen) grid.accept();
    else if (label) mark(label, false);
  },
  grid: () => {
    if (batch.multilabel) return;
    grid.toggle();
    if (grid.isOpen) pressed();
    else show(at);
  },
  find: () => !$("seek").hidden && $("find").focus(),
  change: () => !batch.fixed && !batch.multilabel && dialog.open(batch.classes, items[at].label || suggestion.label),
  new: () => {
    if (batch.fixed || (!grid.isOpen && sight !== "seen")) return;
    $("new-name").value = "";
    $("naming").showModal();
  },
};
const moves = {
  back: () => show(at - 1),
  forward: () => show(at + 1),
  first: () => show(0),
  last: () => show(items.length - 1),
};

// ---- answers of the server

function showSaved() {
  const waiting = saving.waiting.length;
  $("undo").disabled = !batch.canUndo && !waiting;
  $("saved").classList.toggle("waiting", waiting > 0);
  $("saved").textContent = waiting ? `${waiting} not saved yet` : "saved";
}

function saved(answer, click) {
  savedCount += 1;
  $("trouble").hidden = true;
  batch.canUndo = answer.canUndo;
  if (answer.classes.join("\n") !== batch.classes.join("\n")) setClasses(answer.classes);
  const later = new Set(saving.waiting.flatMap((each) => each.images ?? []));
  apply(answer.items.filter(([index]) => !later.has(index)));
  check(answer.checked, items.filter((item) => !later.has(item.index)));
  counts();
  if (click.do === "undo") undone(answer.items);
  conflicts(answer.conflicts);
  showSaved();
  strip();
  if (answer.reread) claim(true).then(() => trouble(`${batch.file} was changed by another program; its labels were loaded.`));
}

function undone(changes) {
  if (grid.isOpen) {
    grid.show(changes);
    return release();
  }
  const place = changes.map(([index]) => places.get(index)).find((each) => each !== undefined);
  if (place === undefined) release();
  else show(place);
}

// Rename, merge or split classes once everything is saved; returns why it did not work, or "".
async function changeClasses(change) {
  if (saving.waiting.length) return "Some labels are not saved yet; try again in a moment.";
  try {
    resume(await send("classes", { window: me, ...change }));
  } catch (error) {
    return error instanceof TypeError ? "The program does not answer." : error.message;
  }
  return "";
}

function failed(error) {
  showSaved();
  const why = error.status === 403 || !(error instanceof TypeError) ? error.message : "The program does not answer.";
  trouble(`${saving.waiting.length} not saved: ${why} Trying again; keep this window open. If the program has ended, start it again: ${batch.again}`);
}

function rejected(error) {
  held = [];
  showSaved();
  claim(true).then(() => trouble(error.message));
}

function taken() {
  const lost = saving.waiting.length;
  $("taken-text").textContent = lost
    ? `${lost === 1 ? "Your last label is" : `Your last ${lost} labels are`} not saved. Labeling here saves ${lost === 1 ? "it" : "them"} and stops the other window.`
    : "Only one window can label at a time. Labeling here stops the other window; saved labels are kept.";
  if (!$("taken").open) $("taken").showModal();
}

function trouble(text) {
  $("trouble").textContent = text;
  $("trouble").hidden = false;
}

// ---- start and end

async function claim(take) {
  const savedBefore = savedCount;
  let state;
  try {
    state = await send("claim", { window: me, take });
  } catch (error) {
    if (error.status === 409) {
      claimRetries -= 1;
      return claimRetries < 0 ? taken() : setTimeout(() => claim(take), 300);
    }
    trouble(error.status ? error.message : "The program does not answer. Trying again.");
    if (error.status !== 403) setTimeout(() => claim(take), 2000);
    return;
  }
  claimRetries = 0;
  // Labels that were saved before the answer arrived may be missing in it.
  if (savedCount !== savedBefore) return claim(take);
  $("trouble").hidden = true;
  resume(state);
  saving.go();
}

function resume(state) {
  const before = items[at]?.index;
  load(state);
  // Labels that are not saved yet are shown, too.
  for (const click of saving.waiting) {
    for (const index of click.images ?? []) {
      const item = items[places.get(index)];
      if (item) Object.assign(item, { label: click.label ?? "", skipped: click.do === "skip" || click.do === "unsure" });
    }
  }
  grid.refresh();
  show(places.get(before) ?? nextOpen(0) ?? 0);
  showSaved();
}

$("taken").addEventListener("close", () => ($("taken").returnValue === "take" ? claim(true) : $("taken").showModal()));
// Read on submit, not on close: the close event can come after the next key, when another image is shown.
$("naming").querySelector("form").addEventListener("submit", (event) => {
  const name = $("new-name").value.trim().replace(/\s+/g, " ");
  if (event.submitter.value !== "add" || !name) return;
  const known = batch.classes.find((each) => each.toLowerCase() === name.toLowerCase());
  choose(known ?? name);
});

// Without focus on the clicked button, the next space skips and does not click it again.
function clicked(id, act) {
  $(id).addEventListener("click", (event) => {
    if (event.detail) document.activeElement?.blur();
    act(event);
  });
}
for (const id of ["undo", "skip", "unsure", "new", "change"]) clicked(id, actions[id]);
clicked("grid-toggle", actions.grid);
clicked("none-of", () => choose(NONE));
for (const id of ["back", "forward"]) clicked(id, moves[id]);
clicked("classes", (event) => {
  const button = event.target.closest("button");
  if (button) choose(button.dataset.name);
});
clicked("look-again", () => show(items.findIndex((item) => item.skipped)));
clicked("copy", async () => {
  await navigator.clipboard.writeText(batch.next);
  $("copy").textContent = "Copied";
});

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input:not([type='checkbox']), select, textarea") || document.querySelector("dialog[open]");
  const button = event.target.matches("button, summary, a, input") && (event.key === " " || event.key === "Enter");
  if (typing || button || !batch) return;
  const own = $("single").checked || event.key.length > 1 || event.key === " " || event.ctrlKey || event.metaKey;
  if ((grid.isOpen && own && grid.key(event)) || press(event)) event.preventDefault();
});

// Do what a key means on the page or in the opened image of the grid; return whether it means something.
function press(event) {
  const input = meaning(event, $("single").checked);
  if (!input) return false;
  if (input.key !== undefined) {
    const name = batch.classes.find((each) => keys.get(each) === input.key);
    if (batch.multilabel && input.key === noneKey) choose(NONE);
    else if (name === undefined) return !grid.isOpen && zoom.key(event);
    else choose(name);
  } else if (input.action) actions[input.action]();
  else if (grid.isOpen) return false;
  // Shift and an arrow pan an enlarged image.
  else if (!zoom.key(event)) moves[input.move]();
  return true;
}

window.addEventListener("resize", () => batch && strip());
window.addEventListener("beforeunload", (event) => {
  if (saving.waiting.length) event.preventDefault();
});
window.addEventListener("pagehide", () => send("release", { window: me }, { keepalive: true }).catch(() => {}));
window.addEventListener("pageshow", (event) => event.persisted && claim(false));
claim(false);
