// The predicted class of an image with its confidence: a button that accepts it, which can be switched off.

const KEPT = "initpools-suggestions";

export class Suggestion {
  // `accept` is called with the suggested class; `changed` when suggestions are switched on or off.
  constructor(parts, { accept, changed }) {
    this.parts = parts;
    this.known = {};
    this.label = "";
    parts.show.checked = localStorage.getItem(KEPT) !== "off";
    parts.show.addEventListener("change", () => {
      localStorage.setItem(KEPT, parts.show.checked ? "on" : "off");
      changed();
    });
    parts.button.addEventListener("click", () => this.label && accept(this.label));
  }

  // Takes the suggestions of all images ({index: [class, confidence]}), and the round that made them.
  load(known, round) {
    this.known = known;
    const some = Object.keys(known).length > 0;
    this.parts.option.hidden = !some;
    this.parts.age.hidden = !round.number;
    this.parts.age.textContent = `Predictions: round ${round.number}; they do not use labels that are newer.`;
  }

  get on() {
    return !this.parts.option.hidden && this.parts.show.checked;
  }

  // Shows the suggestion of an image. Its place stays, so that nothing else on the page moves.
  show(index) {
    const { row, button, none, name, confidence } = this.parts;
    const [label, share] = (this.on && this.known[index]) || ["", 0];
    this.label = label;
    row.hidden = !this.on;
    button.hidden = !label;
    none.hidden = Boolean(label);
    name.textContent = label;
    confidence.textContent = `${Math.round(100 * share)} %`;
    button.setAttribute("aria-label", `Accept the suggestion: ${label}, ${Math.round(100 * share)} percent confident`);
  }
}
