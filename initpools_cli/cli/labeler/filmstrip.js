// Small images of the neighbors of the current image.

// Width of one with the gap, pixels.
const WIDTH = 73;
const MOST = 13;
const KEPT = 300;
const tiles = new Map();

// Shows the items around place `at`, as many as fit; `describe` returns the text of an item, `go` opens it.
export function drawStrip(target, items, at, { pixels, describe, go }) {
  const room = Math.max(1, Math.min(MOST, Math.floor((target.clientWidth || 400) / WIDTH)));
  const first = Math.max(0, Math.min(at - Math.floor(room / 2), items.length - room));
  if (tiles.size > KEPT) tiles.clear();
  const near = items.slice(first, first + room).map((item, i) => {
    const made = tileOf(item, pixels, go);
    const known = describe(item);
    made.lastChild.textContent = known || "–";
    made.setAttribute("aria-label", `Image ${first + i + 1}, ${known || "not labeled"}`);
    if (first + i === at) made.setAttribute("aria-current", "true");
    else made.removeAttribute("aria-current");
    return made;
  });
  // A button that is replaced would lose the focus.
  if (near.length !== target.children.length || near.some((tile, i) => tile !== target.children[i])) {
    const focused = document.activeElement;
    target.replaceChildren(...near);
    if (near.includes(focused)) focused.focus();
  }
}

function tileOf(item, pixels, go) {
  if (!tiles.has(item.index)) {
    const made = document.createElement("button");
    made.type = "button";
    const picture = document.createElement("img");
    picture.src = `small/${item.index}`;
    picture.alt = "";
    picture.classList.toggle("pixels", pixels);
    made.append(picture, document.createElement("span"));
    made.addEventListener("click", () => go(item));
    tiles.set(item.index, made);
  }
  return tiles.get(item.index);
}
