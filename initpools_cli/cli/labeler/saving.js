// Clicks to be saved: each one stays in the list until the server confirms that it is saved.

const SOON = 500;
const LATE = 8000;

// An error that a repetition will not solve, with its HTTP status.
export class Rejected extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// Returns the answer to a message; throws Rejected if the server refuses, and another error if it does not answer.
export async function send(to, message, options = {}) {
  const response = await fetch(to, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(message),
    ...options,
  });
  const answer = await response.json();
  if (response.ok) return answer;
  if (response.status >= 500) throw new Error(answer.error);
  throw new Rejected(response.status, answer.error);
}

export class Saving {
  // `handlers` has saved(answer, click), failed(why), rejected(error, click) and taken().
  constructor(id, handlers) {
    this.id = id;
    this.handlers = handlers;
    this.waiting = [];
    this.number = 0;
    this.busy = false;
  }

  add(click) {
    this.number += 1;
    this.waiting.push({ ...click, window: this.id, number: this.number });
    this.go();
  }

  // Send the waiting clicks one after the other; after each failure, wait longer.
  async go() {
    if (this.busy) return;
    this.busy = true;
    let pause = SOON;
    while (this.waiting.length) {
      const click = this.waiting[0];
      try {
        const answer = await send("act", click);
        this.waiting.shift();
        pause = SOON;
        this.handlers.saved(answer, click);
      } catch (error) {
        const final = error instanceof Rejected;
        if (final && error.status === 409) {
          this.handlers.taken();
          break;
        }
        if (final && error.status !== 403) {
          this.waiting.shift();
          this.handlers.rejected(error, click);
          continue;
        }
        this.handlers.failed(error);
        await new Promise((resolve) => setTimeout(resolve, pause));
        pause = Math.min(2 * pause, LATE);
      }
    }
    this.busy = false;
  }
}
