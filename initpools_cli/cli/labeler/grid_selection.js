// Selected images of the grid, and the one in focus.

export class Selection {
  constructor() {
    this.chosen = new Set();
    // Indices of images: the one in focus, and the start of a range.
    this.focus = null;
    this.anchor = null;
    this.ranged = new Set();
  }

  get size() {
    return this.chosen.size;
  }

  has(index) {
    return this.chosen.has(index);
  }

  toggle(index) {
    if (!this.chosen.delete(index)) this.chosen.add(index);
    this.#start(index);
  }

  add(indices) {
    for (const index of indices) this.chosen.add(index);
  }

  drop(indices) {
    for (const index of indices) this.chosen.delete(index);
  }

  clear() {
    this.chosen.clear();
    this.#start(this.focus);
  }

  // Move the focus; the next range starts there.
  go(index) {
    this.focus = index;
    this.#start(index);
  }

  // Select from the anchor to `index` in `order`; a longer or shorter range replaces the last one.
  range(order, places, index) {
    const start = places.get(this.anchor ?? this.focus ?? index) ?? places.get(index);
    const end = places.get(index);
    this.drop(this.ranged);
    this.anchor ??= order[start].index;
    this.ranged = new Set(order.slice(Math.min(start, end), Math.max(start, end) + 1).map((row) => row.index));
    this.add(this.ranged);
    this.focus = index;
  }

  // Forget images that are no longer shown.
  keep(places) {
    for (const index of this.chosen) if (!places.has(index)) this.chosen.delete(index);
    if (!places.has(this.anchor)) this.anchor = null;
    this.ranged = new Set([...this.ranged].filter((index) => places.has(index)));
  }

  #start(index) {
    this.focus = index;
    this.anchor = index;
    this.ranged = new Set();
  }
}
