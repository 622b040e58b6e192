// Clicks on their way to the file: nothing leaves the list before the server has said that it is saved.

const SOON = 500;
const LATE = 8000;

// A failure that trying again will not mend, with its HTTP status.
export class Rejected extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// The answer to a message; throws Rejected where the server says no, and any other error where it says nothing.
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
  // `told` has saved(answer, click), failed(why), rejected(error, click) and taken().
  constructor(id, told) {
    this.id = id;
    this.told = told;
    this.waiting = [];
    this.number = 0;
    this.busy = false;
  }

  add(click) {
    this.number += 1;
    this.waiting.push({ ...click, window: this.id, number: this.number });
    this.go();
  }

  // Send what waits, one after the other; after a failure wait longer each time.
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
        this.told.saved(answer, click);
      } catch (error) {
        const final = error instanceof Rejected;
        if (final && error.status === 409) {
          this.told.taken();
          break;
        }
        if (final && error.status !== 403) {
          this.waiting.shift();
          this.told.rejected(error, click);
          continue;
        }
        this.told.failed(error);
        await new Promise((resolve) => setTimeout(resolve, pause));
        pause = Math.min(2 * pause, LATE);
      }
    }
    this.busy = false;
  }
}
