// Places of tiles in groups below headings; nothing here touches the page.

export const GAP = 6;
export const HEADING = 44;
// Height of the text below a thumbnail.
export const CAPTION = 22;

export class Layout {
  // `sizes` has the number of tiles of each group; groups have headings if `headings`. All lengths are pixels; tiles
  // are at least `least` wide, and fill the width.
  constructor(sizes, width, least, headings) {
    this.columns = Math.max(1, Math.floor((width + GAP) / (least + GAP)));
    const side = Math.max(least, Math.floor((width + GAP) / this.columns) - GAP);
    this.side = side;
    this.step = side + GAP;
    this.rowHeight = side + CAPTION + GAP;
    this.heading = headings ? HEADING : 0;
    // Place of the first tile of each group, and the top of each group.
    this.firsts = [];
    this.tops = [];
    this.count = 0;
    this.height = 0;
    for (const size of sizes) {
      this.firsts.push(this.count);
      this.tops.push(this.height);
      this.count += size;
      this.height += this.heading + Math.ceil(size / this.columns) * this.rowHeight;
    }
  }

  groupOf(place) {
    return last(this.firsts, place);
  }

  end(group) {
    return this.firsts[group + 1] ?? this.count;
  }

  // Left and top of a tile.
  position(place) {
    const group = this.groupOf(place);
    const within = place - this.firsts[group];
    return {
      left: (within % this.columns) * this.step,
      top: this.tops[group] + this.heading + Math.floor(within / this.columns) * this.rowHeight,
    };
  }

  // Groups and tiles between two heights: {groups: [first, end], tiles: [first, end]}.
  visible(top, bottom) {
    if (!this.count) return { groups: [0, 0], tiles: [0, 0] };
    const from = Math.max(0, last(this.tops, top));
    const to = Math.max(0, last(this.tops, bottom));
    return { groups: [from, to + 1], tiles: [this.#tile(from, top), this.#tile(to, bottom + this.rowHeight)] };
  }

  // First tile of the row at a height in a group.
  #tile(group, height) {
    const row = Math.floor((height - this.tops[group] - this.heading) / this.rowHeight);
    return Math.min(this.end(group), this.firsts[group] + Math.max(0, row) * this.columns);
  }

  // Places of the tiles that a rectangle touches.
  inside({ left, top, right, bottom }) {
    const [first, end] = this.visible(top, bottom).tiles;
    const found = [];
    for (let place = first; place < end; place += 1) {
      const at = this.position(place);
      const across = at.left < right && at.left + this.side > left;
      if (across && at.top < bottom && at.top + this.side + CAPTION > top) found.push(place);
    }
    return found;
  }

  // The tile in the same column, `rows` rows below (above if negative), in other groups too.
  below(place, rows) {
    let at = place;
    for (let left = Math.abs(rows); left > 0; left -= 1) at = rows > 0 ? this.#next(at) : this.#previous(at);
    return at;
  }

  #next(place) {
    const group = this.groupOf(place);
    const [first, end] = [this.firsts[group], this.end(group)];
    const column = (place - first) % this.columns;
    if (place - column + this.columns < end) return Math.min(place + this.columns, end - 1);
    return group + 1 < this.firsts.length ? Math.min(end + column, this.end(group + 1) - 1) : place;
  }

  #previous(place) {
    const group = this.groupOf(place);
    const first = this.firsts[group];
    if (place - this.columns >= first) return place - this.columns;
    if (group === 0) return place;
    const before = this.firsts[group - 1];
    const lastRow = first - 1 - ((first - 1 - before) % this.columns);
    return Math.min(lastRow + ((place - first) % this.columns), first - 1);
  }
}

// Returns the place of the last number that is not above `value`; -1 if there is none.
function last(numbers, value) {
  let [low, high] = [0, numbers.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
