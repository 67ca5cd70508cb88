// The list of tables: search, filter by state, sort, pages. Made for thousands of tables.

import { at, element, numbers, setText } from "./dom.js";

const PER_PAGE = 100;
const ORDER = { Copying: 0, Pending: 1, Copied: 2 };
const COLUMNS = [["name", "Table"], ["state", "State"], ["percent", "Copied"], ["rowsCopied", "Rows"], ["rowsEstimated", "of about"], ["pendingKeys", "Keys pending"],
  ["rowsDiffering", "Differed"], ["rowsRepaired", "Repaired"]];

const tables = new Map();
const view = { page: 0, sort: "state", descending: false };
const numeric = field => !["name", "state"].includes(field);

export function forgetTables() {
  tables.clear();
}

export function changeTables({ changed, gone }) {
  for (const table of changed) tables.set(table.name, table);
  for (const name of gone) tables.delete(name);
}

function compare(a, b) {
  const [left, right] = view.sort === "state" ? [ORDER[a.state] ?? 3, ORDER[b.state] ?? 3] : [a[view.sort], b[view.sort]];
  const way = left < right ? -1 : left > right ? 1 : 0;
  return (view.descending ? -way : way) || b.rowsEstimated - a.rowsEstimated || (a.name < b.name ? -1 : 1);
}

function row(table) {
  const made = element("tr");
  const bar = element("progress");
  bar.max = 100;
  bar.value = table.percent;
  bar.setAttribute("aria-label", `${table.name} copied`);
  const copied = element("td", undefined, "copied");
  copied.append(bar, ` ${Math.floor(table.percent)}%`);
  made.append(element("td", table.name === table.target ? table.name : `${table.name} → ${table.target}`), element("td", table.state), copied,
    ...["rowsCopied", "rowsEstimated", "pendingKeys", "rowsDiffering", "rowsRepaired"].map(field => element("td", numbers.format(table[field]), "number")));
  return made;
}

export function drawTables() {
  const wanted = at("search").value.toLowerCase();
  const state = at("state").value;
  const found = [...tables.values()].filter(table =>
    (!state || table.state === state) && `${table.name} ${table.target}`.toLowerCase().includes(wanted)).sort(compare);
  const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
  view.page = Math.min(view.page, pages - 1);
  at("rows").replaceChildren(...found.slice(view.page * PER_PAGE, (view.page + 1) * PER_PAGE).map(row));
  setText("found", `${numbers.format(found.length)} of ${numbers.format(tables.size)} tables`);
  setText("page", `Page ${view.page + 1} of ${pages}`);
  at("pages").hidden = pages === 1;
  at("previous").disabled = view.page === 0;
  at("following").disabled = view.page === pages - 1;
}

function column([field, title]) {
  const head = element("th", undefined, numeric(field) && field !== "percent" ? "number" : "");
  const button = element("button", title);
  head.scope = "col";
  button.type = "button";
  button.addEventListener("click", () => {
    view.descending = view.sort === field ? !view.descending : numeric(field);
    view.sort = field;
    view.page = 0;
    for (const other of at("columns").children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", view.descending ? "descending" : "ascending");
    drawTables();
  });
  if (field === view.sort) head.setAttribute("aria-sort", "ascending");
  head.append(button);
  return head;
}

function turn(pages) {
  view.page += pages;
  drawTables();
}

export function startTables() {
  at("columns").replaceChildren(...COLUMNS.map(column));
  at("state").append(...Object.keys(ORDER).map(state => element("option", state)));
  for (const id of ["search", "state"]) at(id).addEventListener("input", () => turn(-view.page));
  at("previous").addEventListener("click", () => turn(-1));
  at("following").addEventListener("click", () => turn(1));
}
