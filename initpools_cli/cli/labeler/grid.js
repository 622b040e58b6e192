// The grid: many images at once, selected and labeled by one action.

import { Controls } from "./grid_controls.js";
import { Layout } from "./grid_layout.js";
import { Pointer } from "./grid_pointer.js";
import { filtered, grouped, rowsOf, sorted } from "./grid_rows.js";
import { Selection } from "./grid_selection.js";
import { Tiles } from "./grid_tiles.js";
import { Viewer } from "./viewer.js";

const $ = (id) => document.getElementById(id);
const count = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;
// Number of images that "more like this" shows.
const SIMILAR = 200;
// A longer time without an action is a break, seconds.
const LONGEST = 120;
// Groups and orders that the server computes when they are first asked for, and their columns.
const COMPUTED = { group: { cluster: "cluster", near: "group" }, sort: { similar: "similar" } };

export class Grid {
  // `page` has ask(to, message), act(label, skipped, indices, more), batch(), suggests(), unsaved(), isLabeled(row), say(text), trouble(text), key(event).
  constructor(page) {
    this.page = page;
    this.isOpen = false;
    this.scope = "";
    this.asked = 0;
    // Labels that change while rows are read from the server; null at other times.
    this.changesWhileReading = null;
    this.rows = [];
    this.byIndex = new Map();
    this.order = [];
    this.places = new Map();
    this.similar = null;
    this.selection = new Selection();
    this.controls = new Controls($("grid-controls"), (name) => this.#changed(name), () => $("tiles").focus({ preventScroll: true }));
    const parts = { scroller: $("grid-scroll"), canvas: $("grid-canvas"), headings: $("grid-headings"), list: $("tiles"), band: $("grid-band") };
    this.tiles = new Tiles(parts, (row) => this.#describe(row));
    this.viewer = new Viewer($("viewer"), {
      move: (steps) => this.#step(steps),
      describe: (row) => this.#describe(row).spoken,
      key: (event) => event.key !== "Escape" && page.key(event),
    });
    let base = [];
    new Pointer(parts, {
      click: (index, shift) => this.#click(index, shift),
      open: (index) => this.#view(index),
      start: () => (base = [...this.selection.chosen]),
      rectangle: (box) => this.#rectangle(box, base),
    });
    $("grid-headings").addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) this.#toggleGroup(Number(button.dataset.group));
    });
    $("grid-view").addEventListener("click", () => this.#view(this.#target()));
    $("grid-similar").addEventListener("click", () => this.#findSimilar());
    $("grid-leave-similar").addEventListener("click", () => this.#leaveSimilar());
    $("grid-clear").addEventListener("click", () => this.#clear());
    $("grid-accept").addEventListener("click", () => this.accept());
    $("viewer").addEventListener("close", () => $("tiles").focus({ preventScroll: true }));
    new ResizeObserver(() => this.isOpen && this.#draw()).observe($("grid-scroll"));
  }

  // ---- open and close

  toggle() {
    if (this.viewer.open) this.viewer.dialog.close();
    this.isOpen = !this.isOpen;
    document.body.classList.toggle("in-grid", this.isOpen);
    $("grid").hidden = !this.isOpen;
    $("grid-toggle").setAttribute("aria-pressed", this.isOpen);
    if (!this.isOpen) return;
    this.clock = performance.now();
    if (this.scope) this.#arrange();
    else this.load();
    $("tiles").focus({ preventScroll: true });
  }

  // Read the rows of the chosen scope from the server.
  async load() {
    const { scope, group, sort } = this.controls.values;
    const compute = [COMPUTED.group[group], COMPUTED.sort[sort]].filter(Boolean);
    $("grid-said").textContent = compute.length ? "Comparing the images …" : "Reading the images …";
    this.asked += 1;
    const asked = this.asked;
    this.changesWhileReading = [];
    let columns;
    try {
      columns = await this.page.ask("rows", { scope, compute });
    } catch (error) {
      if (this.asked !== asked) return;
      this.changesWhileReading = null;
      this.page.trouble(error.message);
      return;
    }
    if (this.asked !== asked) return;
    if (scope !== this.scope) this.#leaveSimilar(false);
    this.scope = scope;
    this.rows = rowsOf(columns, this.page.suggests());
    this.byIndex = new Map(this.rows.map((row) => [row.index, row]));
    this.#showUnsaved();
    // Labels that were saved before the rows arrived may be missing in them.
    this.#put(this.changesWhileReading);
    this.changesWhileReading = null;
    this.controls.offer(this.#classes(), this.rows);
    this.#arrange();
    if (compute.some((field) => field !== "group" && columns[field].every((each) => each === null))) {
      this.page.trouble("This run has no embeddings, so images are not compared: run initpools embed, and start the page again.");
    }
  }

  // In a second look, all images have a label.
  showAll() {
    this.controls.form.elements.show.value = "all";
  }

  // Labels may have changed elsewhere: read them again now or when the grid is opened.
  refresh() {
    if (this.isOpen) this.load();
    else this.scope = "";
  }

  // Take over labels, [[index, label, skipped]].
  update(changes) {
    this.changesWhileReading?.push(...changes);
    const changed = this.#put(changes);
    if (this.isOpen && this.scope && changed) this.#arrange();
  }

  // Write labels into the rows; return whether any was different.
  #put(changes) {
    const known = changes.map(([index, ...to]) => [this.byIndex.get(index), ...to]);
    const changed = known.filter(([row, label, skipped]) => row && (row.label !== label || row.skipped !== skipped));
    for (const [row, label, skipped] of changed) Object.assign(row, { label, skipped });
    return changed.length > 0;
  }

  // Bring the first of the changed images into view.
  show(changes) {
    const first = changes.find(([index]) => this.places.has(index));
    if (first) this.#focus(first[0]);
  }

  #showUnsaved() {
    for (const { images, label, do: what } of this.page.unsaved()) {
      for (const index of images ?? []) {
        const row = this.byIndex.get(index);
        if (row) Object.assign(row, { label: label ?? "", skipped: what === "skip" || what === "unsure" });
      }
    }
  }

  classesChanged() {
    if (!this.scope) return;
    this.controls.offer(this.#classes(), this.rows);
    if (this.isOpen) this.#arrange();
  }

  #classes() {
    return [...new Set([...this.page.batch().classes, ...this.rows.map((row) => row.predicted)])].filter(Boolean);
  }

  // ---- what is shown

  #changed(name) {
    const field = COMPUTED[name]?.[this.controls.values[name]];
    const missing = field && this.rows.every((row) => row[field] === null);
    if (name === "scope" || missing) this.load();
    else this.#arrange();
  }

  // Filter, sort and group the rows, and draw them.
  #arrange() {
    const values = this.controls.values;
    const isLabeled = this.page.isLabeled;
    const rows = this.similar ? this.similar.rows : this.rows;
    const kept = filtered(rows, values, isLabeled);
    this.groups = this.similar
      ? grouped(kept, "none", [])
      : grouped(sorted(kept, values.sort), values.group, this.page.batch().classes);
    this.headings = !this.similar && values.group !== "none";
    this.order = this.groups.flatMap((group) => group.rows);
    this.places = new Map(this.order.map((row, place) => [row.index, place]));
    this.selection.keep(this.places);
    if (!this.places.has(this.selection.focus)) this.selection.focus = this.order[0]?.index ?? null;
    $("grid-empty").hidden = this.order.length > 0;
    $("grid-filters").textContent = this.controls.filters ? `Filters (${this.controls.filters})` : "Filters";
    this.#draw();
  }

  #draw() {
    const { side } = this.controls.values;
    const sizes = this.groups?.map((group) => group.rows.length) ?? [];
    this.layout = new Layout(sizes, $("grid-canvas").clientWidth, side, this.headings);
    this.#redraw();
  }

  #redraw() {
    const { layout, order, groups, selection } = this;
    this.tiles.show({ layout, order, groups, selection, pixels: this.page.batch().pixels });
    const suggested = this.#suggested();
    $("grid-accept").hidden = suggested === null;
    $("grid-accept-name").textContent = suggested ?? "";
    $("grid-clear").hidden = selection.size === 0;
    $("grid-view").disabled = $("grid-similar").disabled = this.#target() === null;
    $("grid-leave-similar").hidden = !this.similar;
    const like = this.similar ? `, most similar to ${this.similar.path} first` : "";
    const chosen = selection.size ? `, ${selection.size.toLocaleString("en")} selected` : "";
    const text = `${count(order.length, "image")}${like}${chosen}`;
    if ($("grid-said").textContent !== text) $("grid-said").textContent = text;
  }

  #describe(row) {
    if (this.page.isLabeled(row)) return { text: `✓ ${row.label}`, kind: "is-label", spoken: `labeled ${row.label}` };
    if (row.skipped) return { text: "skipped", kind: "is-skipped", spoken: "skipped" };
    if (row.label) return { text: `${row.label}?`, kind: "is-skipped", spoken: `${row.label} is not a class` };
    if (!row.predicted) return { text: "–", kind: "is-open", spoken: "not labeled" };
    const sure = row.confidence === null ? "" : ` ${Math.round(100 * row.confidence)} %`;
    return { text: `${row.predicted}${sure}`, kind: "is-open", spoken: `not labeled, predicted ${row.predicted}${sure}` };
  }

  // ---- selection

  #click(index, shift) {
    if (shift) this.selection.range(this.order, this.places, index);
    else this.selection.toggle(index);
    $("tiles").focus({ preventScroll: true });
    this.#redraw();
  }

  #rectangle(box, base) {
    const inside = this.layout.inside(box).map((place) => this.order[place].index);
    this.selection.chosen = new Set([...base, ...inside]);
    this.#redraw();
  }

  #toggleGroup(number) {
    const indices = this.groups[number].rows.map((row) => row.index);
    if (indices.every((index) => this.selection.has(index))) this.selection.drop(indices);
    else this.selection.add(indices);
    $("tiles").focus({ preventScroll: true });
    this.#redraw();
  }

  // Select the group of the focused image; everything shown if it is selected already.
  #selectAll() {
    const place = this.places.get(this.selection.focus);
    if (place === undefined) return;
    const rows = this.groups[this.layout.groupOf(place)].rows;
    const all = rows.every((row) => this.selection.has(row.index));
    this.selection.add((all ? this.order : rows).map((row) => row.index));
    this.#redraw();
  }

  #clear() {
    this.selection.clear();
    $("tiles").focus({ preventScroll: true });
    this.#redraw();
  }

  #focus(index, extend = false) {
    if (extend) this.selection.range(this.order, this.places, index);
    else this.selection.go(index);
    const { top } = this.layout.position(this.places.get(index));
    const scroller = $("grid-scroll");
    const above = top - this.layout.heading;
    const below = top + this.layout.rowHeight - scroller.clientHeight;
    if (scroller.scrollTop > above) scroller.scrollTop = above;
    else if (scroller.scrollTop < below) scroller.scrollTop = below;
    this.#redraw();
  }

  #move(key, extend) {
    const place = this.places.get(this.selection.focus);
    if (place === undefined) return;
    const { layout, order } = this;
    const screen = Math.max(1, Math.floor($("grid-scroll").clientHeight / layout.rowHeight) - 1);
    const to = {
      ArrowLeft: () => place - 1,
      ArrowRight: () => place + 1,
      ArrowUp: () => layout.below(place, -1),
      ArrowDown: () => layout.below(place, 1),
      PageUp: () => layout.below(place, -screen),
      PageDown: () => layout.below(place, screen),
      Home: () => 0,
      End: () => order.length - 1,
    }[key]();
    this.#focus(order[Math.max(0, Math.min(to, order.length - 1))].index, extend);
  }

  // Do what a key means in the grid; return whether it means something.
  key(event) {
    const { key, shiftKey, altKey, repeat } = event;
    const command = event.ctrlKey || event.metaKey;
    if (command && !shiftKey && !altKey && key.toLowerCase() === "a") this.#selectAll();
    else if (command || altKey) return false;
    else if (/^(Arrow|Page|Home$|End$)/.test(key)) this.#move(key, shiftKey);
    else if (key === "Escape") this.selection.size || !this.similar ? this.#clear() : this.#leaveSimilar();
    else if (repeat) return false;
    else if (key === " ") this.#toggleFocused();
    else if (key === "Enter") this.accept();
    else if (key === "+" || key === "=") this.#view(this.#target());
    else if (key === ".") this.#findSimilar();
    else return false;
    return true;
  }

  #toggleFocused() {
    if (this.selection.focus === null) return;
    this.selection.toggle(this.selection.focus);
    this.#redraw();
  }

  // ---- labels

  // The one image of an action: the focused one.
  #target() {
    return this.places.has(this.selection.focus) ? this.selection.focus : null;
  }

  #targets() {
    if (this.viewer.open) return [this.viewer.row];
    if (this.selection.size) return this.order.filter((row) => this.selection.has(row.index));
    const focused = this.byIndex.get(this.#target());
    return focused ? [focused] : [];
  }

  // The prediction that all selected images share, or null.
  #suggested() {
    const rows = this.selection.size ? this.#targets() : [];
    const name = rows[0]?.predicted;
    return name && rows.every((row) => row.predicted === name) ? name : null;
  }

  // Label the selected images as predicted, if they share a prediction.
  accept() {
    const rows = this.#targets();
    const name = rows[0]?.predicted;
    if (!name || rows.some((row) => row.predicted !== name)) {
      this.page.say(rows.length ? "The selected images have no prediction in common." : "No image is selected.");
    } else this.mark(name, false);
  }

  // Label, skip or clear the selected images, or else the focused one, as one action.
  mark(label, skipped, more = {}) {
    const rows = this.#targets();
    if (!rows.length) return this.page.say("No image is selected.");
    const first = this.places.get(rows[0].index) ?? 0;
    const indices = new Set(rows.map((row) => row.index));
    const next = this.order.slice(first).find((row) => !indices.has(row.index)) ?? this.order.slice(0, first).findLast((row) => !indices.has(row.index));
    const how = label ? `labeled ${label}` : skipped ? "skipped" : "without a label";
    this.page.say(`${count(rows.length, "image")} ${how}`);
    const now = performance.now();
    const seconds = Math.min(LONGEST, (now - this.clock) / 1000);
    this.clock = now;
    this.selection.clear();
    if ((label || skipped) && next) this.selection.go(next.index);
    this.page.act(label, skipped, [...indices], { seconds, suggested: this.page.suggests(), ...more });
    this.#redraw();
    if (this.viewer.open) this.#viewNext(next);
  }

  #viewNext(next) {
    if (next) this.#view(next.index);
    else this.viewer.dialog.close();
  }

  // ---- one image, and images like it

  #view(index) {
    const row = this.byIndex.get(index);
    if (!row) return;
    if (this.places.has(index)) this.#focus(index);
    this.viewer.show(row, this.page.batch().pixels);
  }

  #step(steps) {
    const place = this.places.get(this.viewer.row.index);
    const row = this.order[(place ?? this.places.get(this.selection.focus) ?? 0) + steps];
    if (row) this.#view(row.index);
  }

  async #findSimilar() {
    const row = this.byIndex.get(this.#target());
    if (!row) return;
    let answer;
    try {
      answer = await this.page.ask("similar", { index: row.index, count: SIMILAR, scope: this.scope });
    } catch (error) {
      return this.page.trouble(error.message);
    }
    const found = answer.index.map((index) => this.byIndex.get(index)).filter((each) => each && each !== row);
    this.similar = { path: row.path, rows: [row, ...found] };
    this.selection.clear();
    this.selection.go(row.index);
    $("grid-scroll").scrollTop = 0;
    this.#arrange();
  }

  #leaveSimilar(draw = true) {
    this.similar = null;
    if (!draw) return;
    this.#arrange();
    if (this.#target() !== null) this.#focus(this.#target());
    $("tiles").focus({ preventScroll: true });
  }
}
