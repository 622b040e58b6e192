// One image of the grid at full size, with zoom.

import { Zoom } from "./zoom.js";

export class Viewer {
  // `dialog` holds the frame, the image and the buttons; `handlers` has move(steps), describe(row) and key(event).
  constructor(dialog, handlers) {
    this.dialog = dialog;
    this.handlers = handlers;
    this.image = dialog.querySelector("img");
    this.caption = dialog.querySelector("#viewer-caption");
    this.zoom = new Zoom(dialog.querySelector(".frame"), this.image);
    dialog.querySelector("#viewer-back").addEventListener("click", () => handlers.move(-1));
    dialog.querySelector("#viewer-forward").addEventListener("click", () => handlers.move(1));
    dialog.querySelector("#viewer-close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("keydown", (event) => this.#key(event));
    this.image.addEventListener("error", () => {
      this.caption.textContent = `${this.row.path}: this image can't be shown.`;
    });
  }

  get open() {
    return this.dialog.open;
  }

  show(row, pixels) {
    this.row = row;
    this.zoom.reset();
    this.image.classList.toggle("pixels", pixels);
    this.image.src = `image/${row.index}`;
    this.image.alt = row.path;
    this.caption.textContent = `${row.path}, ${this.handlers.describe(row)}`;
    if (!this.dialog.open) this.dialog.showModal();
  }

  #key(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
    if (steps && plain && !event.shiftKey) this.handlers.move(steps);
    else if (plain && event.key === "Enter" && event.target.matches("button")) return;
    else if (!this.handlers.key(event) && !(plain && this.zoom.key(event))) return;
    event.preventDefault();
  }
}
