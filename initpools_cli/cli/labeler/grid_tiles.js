// The part of the grid that can be seen: only these tiles and headings are elements of the page.

// Rows of tiles kept above and below the visible part, pixels.
const MARGIN = 160;
// Thumbnails are loaded once scrolling slows down.
const FAST = 1500;
const REST = 100;

export class Tiles {
  // `parts` has the elements {scroller, canvas, headings, list}; `describe` returns {text, kind, spoken} of a row.
  constructor(parts, describe) {
    Object.assign(this, parts);
    this.describe = describe;
    this.tiles = new Map();
    this.top = 0;
    this.timer = 0;
    this.scene = null;
    this.scroller.addEventListener("scroll", () => requestAnimationFrame(() => this.draw()));
  }

  // `scene` has {layout, order, groups, selection, pixels, total}.
  show(scene) {
    this.scene = scene;
    const { layout } = scene;
    this.canvas.style.height = `${layout.height}px`;
    this.canvas.style.setProperty("--side", `${layout.side}px`);
    this.draw();
  }

  draw() {
    if (!this.scene) return;
    const { layout } = this.scene;
    const { scrollTop, clientHeight } = this.scroller;
    const fast = Math.abs(scrollTop - this.top) > FAST;
    this.top = scrollTop;
    const seen = layout.visible(scrollTop - MARGIN, scrollTop + clientHeight + MARGIN);
    this.#drawTiles(seen.tiles, fast);
    this.#drawHeadings(seen.groups);
    if (fast) {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.tiles.forEach(load), REST);
    }
  }

  #drawTiles([first, end], fast) {
    const { order, layout, selection } = this.scene;
    const shown = new Set();
    const made = [];
    for (let place = first; place < end; place += 1) {
      const row = order[place];
      shown.add(row.index);
      let tile = this.tiles.get(row.index);
      if (!tile) {
        tile = tileOf(row);
        this.tiles.set(row.index, tile);
        made.push(tile);
      }
      this.#update(tile, row, place, layout.position(place), selection);
      if (!fast) load(tile);
    }
    for (const [index, tile] of this.tiles) {
      if (shown.has(index)) continue;
      // Stops the loading of the thumbnail.
      tile.firstChild.removeAttribute("src");
      tile.remove();
      this.tiles.delete(index);
    }
    this.list.append(...made);
    const focused = this.tiles.get(selection.focus);
    if (focused) this.list.setAttribute("aria-activedescendant", focused.id);
    else this.list.removeAttribute("aria-activedescendant");
  }

  #update(tile, row, place, { left, top }, selection) {
    const { text, kind, spoken } = this.describe(row);
    const chosen = selection.has(row.index);
    tile.style.left = `${left}px`;
    tile.style.top = `${top}px`;
    tile.classList.toggle("focused", selection.focus === row.index);
    tile.setAttribute("aria-selected", chosen);
    tile.setAttribute("aria-setsize", this.scene.order.length);
    tile.setAttribute("aria-posinset", place + 1);
    tile.setAttribute("aria-label", `${row.path}, ${spoken}`);
    tile.firstChild.classList.toggle("pixels", this.scene.pixels);
    tile.lastChild.className = kind;
    tile.lastChild.textContent = text;
  }

  #drawHeadings([first, end]) {
    const { groups, layout, selection } = this.scene;
    const wanted = layout.heading ? end - first : 0;
    const made = [...this.headings.children];
    // Elements are kept: a click on a button that is replaced meanwhile would be lost.
    for (const old of made.slice(wanted)) old.remove();
    for (let i = 0; i < wanted; i += 1) {
      if (!made[i]) this.headings.append((made[i] = emptyHeading()));
      drawHeading(made[i], groups[first + i], first + i, layout.tops[first + i], selection);
    }
  }
}

function load(tile) {
  const image = tile.firstChild;
  if (!image.hasAttribute("src")) image.src = `small/${tile.dataset.index}`;
}

function tileOf(row) {
  const tile = document.createElement("div");
  tile.className = "tile";
  tile.id = `tile-${row.index}`;
  tile.dataset.index = row.index;
  tile.setAttribute("role", "option");
  tile.title = row.path;
  const image = document.createElement("img");
  image.alt = "";
  image.draggable = false;
  tile.append(image, document.createElement("span"));
  return tile;
}

function emptyHeading() {
  const made = document.createElement("div");
  made.className = "grid-heading";
  const button = document.createElement("button");
  button.type = "button";
  made.append(document.createElement("h3"), document.createElement("span"), button);
  return made;
}

function drawHeading(heading, group, number, top, selection) {
  const [title, count, button] = heading.children;
  heading.style.top = `${top}px`;
  title.textContent = group.name;
  const chosen = selection.size ? group.rows.filter((row) => selection.has(row.index)).length : 0;
  count.textContent = `${group.rows.length.toLocaleString("en")}${chosen ? `, ${chosen.toLocaleString("en")} selected` : ""}`;
  const all = chosen === group.rows.length;
  button.dataset.group = number;
  button.textContent = all ? "Clear" : "Select";
  button.setAttribute("aria-label", `${all ? "Clear the selection of" : "Select"} all ${group.rows.length} of ${group.name}`);
}
