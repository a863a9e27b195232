"use strict";
// Sorts the rows of a table by a column, and shows those that hold a word. The page is whole without it.
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const read = (row, column) => {
    const text = row.cells[column].textContent.trim();
    const number = Number(text.replace(/[,%+]/g, ""));
    return text === "" || text === "-" ? null : Number.isNaN(number) ? text : number;
  };
  for (const heading of table.tHead.rows[0].querySelectorAll("th")) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const falling = heading.getAttribute("aria-sort") !== "descending";
      for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const column = heading.cellIndex;
      rows.sort((a, b) => {
        const [x, y] = [read(a, column), read(b, column)];
        if (x === null || y === null) return (x === null) - (y === null);
        const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
        return falling ? -order : order;
      });
      body.append(...rows);
    });
  }
  if (rows.length < 20) continue;
  const label = document.createElement("label");
  const input = document.createElement("input");
  label.className = "filter";
  label.append("Show rows with ", input);
  input.type = "search";
  input.addEventListener("input", () => {
    const word = input.value.trim().toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(word);
  });
  table.before(label);
}
