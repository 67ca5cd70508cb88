// The form of run-time settings. It sends only what a person has edited, over what the run has at that moment: others
// may have changed the rest.

import { request } from "./api.js";
import { command } from "./commands.js";
import { at } from "./dom.js";

const inputs = () => at("settings").querySelectorAll("input");
const shown = new Map(); // by name: the value that was loaded

// A name is the field's path in the settings; what is absent or null is empty.
const read = (settings, name) => String(name.split(".").reduce((found, field) => found?.[field], settings) ?? "");

function write(settings, input) {
  const path = input.name.split(".");
  const last = path.pop();
  const parent = path.reduce((found, field) => (found[field] ??= {}), settings);
  parent[last] = input.value === "" ? null : input.type === "number" ? Number(input.value) : input.value;
}

export async function loadSettings() {
  let settings;
  try {
    settings = await (await request("api/v1/settings")).json();
  } catch { return; /* the stream of events says that the server is away */ }
  for (const input of inputs()) {
    if (shown.has(input.name) && input.value !== shown.get(input.name)) continue; // being edited
    input.value = read(settings, input.name);
    shown.set(input.name, input.value);
  }
}

async function apply(event) {
  event.preventDefault();
  let settings = null;
  const changed = [...inputs()].filter(input => input.value !== shown.get(input.name));
  try {
    settings = await (await request("api/v1/settings")).json();
    for (const input of changed) write(settings, input);
  } catch { /* the command below says what is wrong */ }
  if (!await command("api/v1/settings", "PUT", settings ?? {}, "The settings are applied.")) return;
  shown.clear();
  loadSettings();
}

export function startSettings() {
  at("settings").addEventListener("submit", apply);
}
