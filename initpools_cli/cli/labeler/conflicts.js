// Labels that differ between this page and another program that wrote the file: both are shown, and one is chosen.

const said = ([label, skipped]) => (label ? `“${label}”` : skipped ? "skipped" : "no label");

// Lists conflicts ([index, path, yours, theirs, kept]); `choose` is called with an index and an answer [label, skipped].
export function showConflicts(target, conflicts, choose) {
  target.hidden = !conflicts.length;
  const title = document.createElement("h2");
  title.textContent = `${conflicts.length === 1 ? "1 image has" : `${conflicts.length} images have`} another label in the file, which another program changed`;
  const list = document.createElement("ul");
  list.append(
    ...conflicts.map(([index, path, yours, theirs, kept]) => {
      const row = document.createElement("li");
      row.append(`${path}: yours ${said(yours)}, theirs ${said(theirs)}. `);
      for (const [name, answer] of [["yours", yours], ["theirs", theirs]]) {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = name === kept ? `Keep ${name} (saved now)` : `Use ${name}`;
        button.addEventListener("click", () => choose(index, answer));
        row.append(button, " ");
      }
      return row;
    }),
  );
  target.replaceChildren(title, list);
}
