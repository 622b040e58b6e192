// Mouse and touch in the grid: click, shift-click, and a rectangle that is dragged.

// A shorter movement of the mouse is a click, pixels.
const SHORT = 5;
// The grid scrolls while the pointer is this near to its edge, pixels.
const EDGE = 32;

export class Pointer {
  // `handlers` has click(index, shift), open(index), start() and rectangle(box).
  constructor({ scroller, canvas, band }, handlers) {
    Object.assign(this, { scroller, canvas, band, handlers });
    this.from = null;
    this.dragged = false;
    scroller.addEventListener("pointerdown", (event) => this.#down(event));
    scroller.addEventListener("pointermove", (event) => this.#move(event));
    for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) scroller.addEventListener(kind, () => this.#end());
    canvas.addEventListener("click", (event) => {
      const index = indexAt(event);
      if (index !== null && !this.dragged) handlers.click(index, event.shiftKey);
    });
    canvas.addEventListener("dblclick", (event) => indexAt(event) !== null && handlers.open(indexAt(event)));
  }

  #point(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  #down(event) {
    this.dragged = false;
    // A finger that moves scrolls.
    const onBar = event.clientX - this.scroller.getBoundingClientRect().left >= this.scroller.clientWidth;
    if (event.pointerType === "touch" || event.button !== 0 || onBar || event.target.closest("button")) return;
    this.from = this.#point(event);
  }

  #move(event) {
    if (!this.from) return;
    this.last = event;
    const { x, y } = this.#point(event);
    if (!this.dragged) {
      if (Math.hypot(x - this.from.x, y - this.from.y) < SHORT) return;
      this.dragged = true;
      this.scroller.setPointerCapture(event.pointerId);
      this.handlers.start();
      this.#scroll();
    }
    this.#draw();
  }

  #draw() {
    const { x, y } = this.#point(this.last);
    const box = {
      left: Math.min(x, this.from.x),
      top: Math.min(y, this.from.y),
      right: Math.max(x, this.from.x),
      bottom: Math.max(y, this.from.y),
    };
    const { style } = this.band;
    this.band.hidden = false;
    style.left = `${box.left}px`;
    style.top = `${box.top}px`;
    style.width = `${box.right - box.left}px`;
    style.height = `${box.bottom - box.top}px`;
    this.handlers.rectangle(box);
  }

  #scroll() {
    if (!this.from) return;
    const box = this.scroller.getBoundingClientRect();
    const { clientY } = this.last;
    const beyond = clientY > box.bottom - EDGE ? clientY - box.bottom + EDGE : Math.min(0, clientY - box.top - EDGE);
    if (beyond) {
      this.scroller.scrollTop += beyond / 2;
      this.#draw();
    }
    requestAnimationFrame(() => this.#scroll());
  }

  #end() {
    this.from = null;
    this.band.hidden = true;
  }
}

function indexAt(event) {
  const tile = event.target.closest(".tile");
  return tile ? Number(tile.dataset.index) : null;
}
