// The dialog that renames, merges and splits classes.

const HINTS = {
  rename: "Choose one class, and write its new name.",
  merge: "Choose the classes to merge, and write the name of the class instead; it may be one of them.",
  split: "Choose one class, and write two or more names, each on a line. Its images are to be labeled again.",
};

export class ClassDialog {
  // `change` sends {do, from, to}, and returns an error text or "".
  constructor(dialog, change) {
    this.dialog = dialog;
    this.part = (name) => dialog.querySelector(`[name="${name}"]`);
    dialog.querySelector("form").addEventListener("submit", (event) => this.#submit(event, change));
    dialog.querySelector("[data-cancel]").addEventListener("click", () => dialog.close());
    this.part("do").addEventListener("change", () => this.#hint());
  }

  open(classes, current) {
    this.part("from").replaceChildren(...classes.map((name) => new Option(name, name, false, name === current)));
    this.part("to").value = "";
    this.#say("");
    this.#hint();
    this.dialog.showModal();
  }

  #hint() {
    this.dialog.querySelector("[data-hint]").textContent = HINTS[this.part("do").value];
  }

  #say(text) {
    const error = this.dialog.querySelector("[role=alert]");
    error.textContent = text;
    error.hidden = !text;
  }

  async #submit(event, change) {
    event.preventDefault();
    const what = this.part("do").value;
    const from = [...this.part("from").selectedOptions].map((option) => option.value);
    const to = this.part("to").value.split("\n").map((line) => line.trim()).filter(Boolean);
    if (!from.length || !to.length || (what !== "merge" && from.length > 1) || (what !== "split" && to.length > 1)) return this.#say(HINTS[what]);
    const problem = await change({ do: what, from, to });
    this.#say(problem);
    if (!problem) this.dialog.close();
  }
}
