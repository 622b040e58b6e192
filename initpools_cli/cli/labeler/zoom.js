// Zoom and pan of an image in its frame: wheel, pinch, drag, double click, and keys.

const MOST = 40;
const STEP = 1.25;
// Movement of the image by Shift and an arrow, pixels.
const PANS = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };

export class Zoom {
  // `frame` clips `image`, which fills it at scale 1.
  constructor(frame, image) {
    this.frame = frame;
    this.image = image;
    this.pointers = new Map();
    image.draggable = false;
    frame.classList.add("zoomable");
    frame.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    frame.addEventListener("pointerdown", (event) => this.#down(event));
    frame.addEventListener("pointermove", (event) => this.#move(event));
    for (const kind of ["pointerup", "pointercancel"]) frame.addEventListener(kind, (event) => this.pointers.delete(event.pointerId));
    frame.addEventListener("dblclick", (event) => (this.scale > 1 ? this.reset() : this.#about(this.#point(event), 4)));
    this.reset();
  }

  reset() {
    [this.scale, this.x, this.y] = [1, 0, 0];
    this.#draw();
  }

  // Returns whether a key event is one of the zoom: + and - zoom, 0 resets, Shift with an arrow pans.
  key(event) {
    const center = [this.frame.clientWidth / 2, this.frame.clientHeight / 2];
    const pan = this.scale > 1 && event.shiftKey && PANS[event.key];
    if (pan) this.#pan(...pan);
    else if (event.key === "+" || event.key === "=") this.#about(center, STEP);
    else if (event.key === "-") this.#about(center, 1 / STEP);
    else if (event.key === "0") this.reset();
    else return false;
    return true;
  }

  #pan(x, y) {
    this.x += x;
    this.y += y;
    this.#draw();
  }

  #point(event) {
    const box = this.frame.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  // Enlarge by a factor; what is at a point of the frame stays there.
  #about([x, y], factor) {
    const scale = Math.min(MOST, Math.max(1, this.scale * factor));
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.#draw();
  }

  #wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === 0 ? 100 : 3;
    this.#about(this.#point(event), STEP ** (-event.deltaY / lines));
  }

  #down(event) {
    if (event.button > 0 || event.target.closest("a, button")) return;
    this.pointers.set(event.pointerId, this.#point(event));
    if (this.scale > 1 || this.pointers.size > 1) this.frame.setPointerCapture(event.pointerId);
  }

  #move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = this.#point(event);
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.pointers.set(event.pointerId, now);
    if (other) {
      const apart = ([x, y]) => Math.max(1, Math.hypot(x - other[0], y - other[1]));
      this.#about([(now[0] + other[0]) / 2, (now[1] + other[1]) / 2], apart(now) / apart(before));
    } else if (this.scale > 1) {
      this.#pan(now[0] - before[0], now[1] - before[1]);
    }
  }

  #draw() {
    const { clientWidth, clientHeight } = this.frame;
    // The image always covers the frame.
    this.x = Math.min(0, Math.max(this.x, clientWidth * (1 - this.scale)));
    this.y = Math.min(0, Math.max(this.y, clientHeight * (1 - this.scale)));
    this.image.style.transformOrigin = "0 0";
    this.image.style.transform = this.scale > 1 ? `translate(${this.x}px, ${this.y}px) scale(${this.scale})` : "";
    this.frame.classList.toggle("enlarged", this.scale > 1);
    this.frame.dataset.scale = this.scale.toFixed(2);
  }
}
