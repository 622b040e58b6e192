import { keysOf, meaning } from "./keys.js";
import { Saving, send } from "./saving.js";
import { drawStrip } from "./filmstrip.js";
import { Zoom } from "./zoom.js";

const MANY = 9;
const $ = (id) => document.getElementById(id);
const me = [...crypto.getRandomValues(new Uint32Array(4))].join("-");

let batch = null;
let items = [];
let at = 0;
// "seen" once the image is shown, "lost" if it can't be shown; else "".
let sight = "";
let keys = new Map();
const places = new Map();
const saving = new Saving(me, { saved, failed, rejected, taken });
const zoom = new Zoom($("frame"), $("image"));

// ---- state

function load(state) {
  batch = state;
  items = state.items.map(([index, path, label, skipped]) => ({ index, path, label, skipped }));
  places.clear();
  items.forEach((item, place) => places.set(item.index, place));
  document.title = `${state.name} · labeling`;
  $("name").textContent = state.name;
  $("file").textContent = `Labels of ${state.dataset} are saved in ${state.file}`;
  $("new").hidden = state.fixed;
  setClasses(state.classes);
  $("undo").disabled = !state.canUndo && !saving.waiting.length;
}

function setClasses(classes) {
  batch.classes = classes;
  keys = keysOf(classes);
  $("answers").classList.toggle("many", classes.length > MANY);
  $("seek").hidden = classes.length <= MANY;
  const buttons = classes.map((name) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.name = name;
    if (keys.has(name)) {
      const key = document.createElement("kbd");
      key.textContent = keys.get(name);
      button.append(key);
      button.setAttribute("aria-keyshortcuts", keys.get(name));
    }
    const text = document.createElement("span");
    text.textContent = name;
    button.append(text);
    return button;
  });
  $("classes").replaceChildren(...buttons);
  if (!classes.length) $("classes").textContent = "No classes yet: add the first one with n.";
  filter();
  pressed();
}

const isLabeled = (item) => item.label !== "" && (!batch.fixed || batch.classes.includes(item.label));
const isOpen = (item) => !isLabeled(item) && !item.skipped;

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

function shown(how) {
  sight = how;
  document.body.dataset.shown = items[at].index;
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
  for (const button of $("classes").children) button.setAttribute("aria-pressed", item.label === button.dataset.name);
  $("mark").textContent = describe(item);
}

function counts() {
  const labeled = items.filter(isLabeled).length;
  const skipped = items.filter((item) => item.skipped && !isLabeled(item)).length;
  const left = items.length - labeled - skipped;
  $("progress").max = items.length;
  $("progress").value = labeled + skipped;
  const passed = skipped ? `, ${skipped} skipped` : "";
  $("left").textContent = `${labeled} labeled${passed}, ${left} left`;
  $("done").hidden = left > 0;
  $("look-again").hidden = skipped === 0;
  $("done-title").textContent = skipped ? "All images seen" : "All images labeled";
  $("done-text").textContent = `${labeled} labeled${passed}.`;
  $("next-command").textContent = batch.next;
  pressed();
}

function strip() {
  drawStrip($("strip"), items, at, { pixels: batch.pixels, describe, go: (item) => show(places.get(item.index)) });
}

// ---- actions

function mark(label, skipped) {
  // An image can be labeled only once it is shown.
  if (!sight || (label && sight === "lost")) return;
  const item = items[at];
  Object.assign(item, { label, skipped });
  const what = label ? { do: "label", label } : { do: skipped ? "skip" : "clear" };
  saving.add({ ...what, index: item.index });
  showSaved();
  const next = label || skipped ? nextOpen(at) : at;
  if (next === undefined) {
    show(at);
    $("heard").textContent = `${$("done-title").textContent}. ${$("done-text").textContent}`;
  } else show(next);
}

const actions = {
  undo: () => {
    if ($("undo").disabled) return;
    saving.add({ do: "undo" });
    showSaved();
  },
  skip: () => mark("", true),
  clear: () => mark("", false),
  find: () => !$("seek").hidden && $("find").focus(),
  new: () => {
    if (batch.fixed || sight !== "seen") return;
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
  $("trouble").hidden = true;
  batch.canUndo = answer.canUndo;
  if (answer.classes.length !== batch.classes.length) setClasses(answer.classes);
  for (const [index, label, skipped] of answer.items) {
    const place = places.get(index);
    const later = saving.waiting.some((each) => each.index === index);
    if (place !== undefined && !later) Object.assign(items[place], { label, skipped });
  }
  const undone = click.do === "undo" && answer.items.map(([index]) => places.get(index)).find((place) => place !== undefined);
  if (undone !== undefined && undone !== false) show(undone);
  showSaved();
  counts();
  strip();
  if (answer.reread) claim(true).then(() => trouble(`${batch.file} was changed by another program; its labels were loaded.`));
}

function failed(error) {
  showSaved();
  const why = error.status === 403 || !(error instanceof TypeError) ? error.message : "The program does not answer.";
  trouble(`${saving.waiting.length} not saved: ${why} Trying again; keep this window open. If the program has ended, start it again: ${batch.again}`);
}

function rejected(error) {
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
  let state;
  try {
    state = await send("claim", { window: me, take });
  } catch (error) {
    if (error.status === 409) return taken();
    trouble(error.status ? error.message : "The program does not answer. Trying again.");
    if (error.status !== 403) setTimeout(() => claim(take), 2000);
    return;
  }
  const before = items[at]?.index;
  $("trouble").hidden = true;
  load(state);
  // Labels that are not saved yet are shown, too.
  for (const click of saving.waiting) {
    const item = items[places.get(click.index)];
    if (item) Object.assign(item, { label: click.label ?? "", skipped: click.do === "skip" });
  }
  show(places.get(before) ?? nextOpen(0) ?? 0);
  showSaved();
  saving.go();
}

$("taken").addEventListener("close", () => ($("taken").returnValue === "take" ? claim(true) : $("taken").showModal()));
$("naming").addEventListener("close", () => {
  const name = $("new-name").value.trim().replace(/\s+/g, " ");
  if ($("naming").returnValue !== "add" || !name) return;
  const known = batch.classes.find((each) => each.toLowerCase() === name.toLowerCase());
  mark(known ?? name, false);
});

// Without focus on the clicked button, the next space skips and does not click it again.
function clicked(id, act) {
  $(id).addEventListener("click", (event) => {
    if (event.detail) document.activeElement?.blur();
    act(event);
  });
}
for (const id of ["undo", "skip", "new"]) clicked(id, actions[id]);
for (const id of ["back", "forward"]) clicked(id, moves[id]);
clicked("classes", (event) => {
  const button = event.target.closest("button");
  if (button) mark(button.dataset.name, false);
});
clicked("look-again", () => show(items.findIndex((item) => item.skipped)));
clicked("copy", async () => {
  await navigator.clipboard.writeText(batch.next);
  $("copy").textContent = "Copied";
});

function filter() {
  const query = $("find").value.trim().toLowerCase();
  for (const button of $("classes").children) button.hidden = !button.dataset.name.toLowerCase().includes(query);
}
$("find").addEventListener("input", filter);
$("find").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" && event.key !== "Escape") return;
  event.preventDefault();
  const names = [...$("classes").children].filter((button) => !button.hidden).map((button) => button.dataset.name);
  const query = $("find").value.trim().toLowerCase();
  const best = names.find((name) => name.toLowerCase() === query) ?? names.find((name) => name.toLowerCase().startsWith(query)) ?? names[0];
  $("find").value = "";
  $("find").blur();
  filter();
  if (event.key === "Enter" && query && best !== undefined) mark(best, false);
});

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input:not([type='checkbox'])") || document.querySelector("dialog[open]");
  const button = event.target.matches("button, summary, a, input") && (event.key === " " || event.key === "Enter");
  const input = typing || button || !batch ? null : meaning(event, $("single").checked);
  if (!input) return;
  if (input.key !== undefined) {
    const name = batch.classes.find((each) => keys.get(each) === input.key);
    if (name !== undefined) mark(name, false);
    else if (!zoom.key(event)) return;
  } else if (input.move && zoom.key(event)) {
    // Shift and an arrow pan an enlarged image.
  } else if (input.move) moves[input.move]();
  else actions[input.action]();
  event.preventDefault();
});

window.addEventListener("resize", () => batch && strip());
window.addEventListener("beforeunload", (event) => {
  if (saving.waiting.length) event.preventDefault();
});
window.addEventListener("pagehide", () => send("release", { window: me }, { keepalive: true }).catch(() => {}));
window.addEventListener("pageshow", (event) => event.persisted && claim(false));
claim(false);
