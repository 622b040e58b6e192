// The form above the grid: scope, filters, grouping, sorting and size.

const OF_PREDICTIONS = ["predicted", "low", "high"];
// Side of a thumbnail, pixels.
const SIDES = { small: 72, medium: 112, large: 176 };

export class Controls {
  // `changed(name)` is called with the name of the control; `done()` gives the focus back to the grid.
  constructor(form, changed, done) {
    this.form = form;
    let byMouse = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("pointerdown", () => (byMouse = true));
    form.addEventListener("keydown", (event) => {
      byMouse = false;
      if (event.key === "Escape" || (event.key === "Enter" && event.target.matches("input"))) {
        event.preventDefault();
        done();
      }
    });
    form.addEventListener("input", (event) => {
      changed(event.target.name);
      // After a choice by mouse, the next key is for the grid; by keyboard the focus stays.
      if (byMouse && event.target.matches("select")) done();
    });
  }

  // Values of the form; the confidences are shares.
  get values() {
    const { scope, show, group, sort, name, low, high, path, size } = this.form.elements;
    return {
      scope: scope.value,
      show: show.value,
      group: group.value,
      sort: sort.value,
      name: name.value,
      low: share(low.value, 0),
      high: share(high.value, 1),
      path: path.value,
      side: SIDES[size.value],
    };
  }

  // Number of filters that hide images, other than the choice of labeled or not.
  get filters() {
    const { name, low, high, path } = this.values;
    return Number(name !== "") + Number(low > 0 || high < 1) + Number(path.trim() !== "");
  }

  // Offer the classes; without predictions, nothing can be grouped or sorted by them.
  offer(classes, rows) {
    const { name, group, sort } = this.form.elements;
    const before = name.value;
    const options = ["", ...classes].map((each) => new Option(each || "any", each, false, each === before));
    name.replaceChildren(...options);
    const predicted = rows.some((row) => row.predicted);
    for (const option of [...group.options, ...sort.options]) option.disabled = !predicted && OF_PREDICTIONS.includes(option.value);
    if (group.selectedOptions[0].disabled) group.value = "none";
    if (sort.selectedOptions[0].disabled) sort.value = "order";
  }
}

function share(text, otherwise) {
  const percent = Number.parseFloat(text);
  return Number.isFinite(percent) ? percent / 100 : otherwise;
}
