// Sorts tables of the class "sortable" by the column whose heading is clicked; numbers first descending, text ascending.
(() => {
  const value = (row, column) => {
    const text = row.cells[column].textContent.trim();
    const number = parseFloat(text.replaceAll(",", ""));
    return /^[+-]?[\d.]/.test(text) ? number : text;
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return a.localeCompare(b);
  };

  const sort = (table, column) => {
    const heading = table.tHead.rows[0].cells[column];
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const numeric = rows.some((row) => typeof value(row, column) === "number");
    const before = heading.getAttribute("aria-sort");
    const descending = before ? before === "ascending" : numeric;
    for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    // Cells without a number stay at the end.
    const order = (a, b) => {
      const [first, second] = [value(a, column), value(b, column)];
      const missing = numeric && (typeof first !== "number") - (typeof second !== "number");
      return missing || (descending ? -1 : 1) * compare(first, second);
    };
    body.append(...rows.sort(order));
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = heading.textContent;
      button.addEventListener("click", () => sort(table, column));
      heading.replaceChildren(button);
    });
  }
})();
