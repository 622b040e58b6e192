// Time spent on each image, in seconds: only while the page is visible, and at most two minutes for one look.

const MOST = 120;

export class Clock {
  constructor() {
    this.index = null;
    this.since = null;
    this.spent = new Map();
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#pause() : this.#go()));
  }

  // The image is shown from now on.
  look(index) {
    this.#pause();
    this.index = index;
    this.#go();
  }

  // Returns the time since the last action on the image, and starts again.
  take(index) {
    this.#pause();
    const seconds = this.spent.get(index) ?? 0;
    this.spent.delete(index);
    this.#go();
    // 0 means that the time is not known.
    return seconds && Math.max(1, Math.round(10 * seconds)) / 10;
  }

  #go() {
    if (!document.hidden) this.since = performance.now();
  }

  #pause() {
    if (this.since === null || this.index === null) return;
    const seconds = Math.min(MOST, (performance.now() - this.since) / 1000);
    this.spent.set(this.index, (this.spent.get(this.index) ?? 0) + seconds);
    this.since = null;
  }
}
