// The buttons of the classes, with their keys and a few images of each class, and the search for one.

export const MANY = 9;
// Reference images on each button, for few and for many classes.
const IMAGES = [3, 1];

export class ClassButtons {
  // `parts` has the elements target, seek and find; `choose` is called with the name of a class.
  constructor(parts, choose) {
    this.parts = parts;
    this.choose = choose;
    this.references = {};
    parts.find.addEventListener("input", () => this.filter());
    parts.find.addEventListener("keydown", (event) => this.#key(event));
  }

  get buttons() {
    return [...this.parts.target.children].filter((each) => each.matches("button"));
  }

  draw(classes, keys, fixed) {
    const { target, seek } = this.parts;
    this.count = classes.length;
    target.parentElement.classList.toggle("many", classes.length > MANY);
    seek.hidden = classes.length <= MANY;
    target.replaceChildren(...classes.map((name) => button(name, keys.get(name))));
    if (!classes.length) target.textContent = fixed ? "The data set has no classes." : "No classes yet: add the first one with n.";
    this.filter();
  }

  // Shows which classes an image has and which are suggested, and images of each class other than this one.
  mark(index, labels, suggested, pixels) {
    for (const each of this.buttons) {
      const name = each.dataset.name;
      each.setAttribute("aria-pressed", labels.includes(name));
      each.toggleAttribute("data-suggested", suggested.includes(name));
      this.#images(each, (this.references[name] ?? []).filter((other) => other !== index), pixels);
    }
  }

  #images(each, indices, pixels) {
    const wanted = indices.slice(0, IMAGES[this.count > MANY ? 1 : 0]).join();
    const row = each.lastChild;
    if (row.dataset.wanted === wanted) return;
    row.dataset.wanted = wanted;
    const images = wanted.split(",").filter(Boolean).map((index) => {
      const image = document.createElement("img");
      Object.assign(image, { src: `small/${index}`, alt: "", loading: "lazy" });
      image.classList.toggle("pixels", pixels);
      return image;
    });
    row.replaceChildren(...images);
  }

  // Adds an image to the references of a class that has few.
  learn(index, label) {
    for (const [name, images] of Object.entries(this.references)) {
      if (name !== label && images.includes(index)) this.references[name] = images.filter((each) => each !== index);
    }
    const images = label ? (this.references[label] ??= []) : [];
    if (label && images.length < IMAGES[0] + 1 && !images.includes(index)) images.push(index);
  }

  filter() {
    const query = this.#query();
    for (const each of this.buttons) each.hidden = !each.dataset.name.toLowerCase().includes(query);
  }

  #query() {
    return this.parts.find.value.trim().toLowerCase();
  }

  #key(event) {
    if (event.key !== "Enter" && event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation();
    const { find } = this.parts;
    const names = this.buttons.filter((each) => !each.hidden).map((each) => each.dataset.name);
    const query = this.#query();
    const best = names.find((name) => name.toLowerCase() === query) ?? names.find((name) => name.toLowerCase().startsWith(query)) ?? names[0];
    find.value = "";
    find.blur();
    this.filter();
    if (event.key === "Enter" && query && best !== undefined) this.choose(best);
  }
}

function button(name, key) {
  const made = document.createElement("button");
  made.type = "button";
  made.dataset.name = name;
  if (key !== undefined) {
    const shown = document.createElement("kbd");
    shown.textContent = key;
    made.append(shown);
    made.setAttribute("aria-keyshortcuts", key);
  }
  const text = document.createElement("span");
  text.textContent = name;
  const images = document.createElement("span");
  images.className = "references";
  made.append(text, images);
  return made;
}
