// The form of run-time settings. It sends only what a person has edited, over what the run has at that moment: others
// may have changed the rest.

import { request } from "./api.js";
import { command } from "./commands.js";
import { at } from "./dom.js";

const inputs = () => at("settings").querySelectorAll("input");
const place = input => input.name.split(".");
const shown = new Map(); // by name: the value that was loaded

function read(settings, input) {
  const [part, field] = place(input);
  return String(settings[part][field] ?? "");
}

export async function loadSettings() {
  let settings;
  try {
    settings = await (await request("api/v1/settings")).json();
  } catch { return; /* the stream of events says that the server is away */ }
  for (const input of inputs()) {
    if (shown.has(input.name) && input.value !== shown.get(input.name)) continue; // being edited
    input.value = read(settings, input);
    shown.set(input.name, input.value);
  }
}

async function apply(event) {
  event.preventDefault();
  let settings = null;
  const changed = [...inputs()].filter(input => input.value !== shown.get(input.name));
  try {
    settings = await (await request("api/v1/settings")).json();
    for (const input of changed) {
      const [part, field] = place(input);
      settings[part][field] = input.value === "" ? null : input.type === "number" ? Number(input.value) : input.value;
    }
  } catch { /* the command below says what is wrong */ }
  if (!await command("api/v1/settings", "PUT", settings ?? {}, "The settings are applied.")) return;
  shown.clear();
  loadSettings();
}

export function startSettings() {
  at("settings").addEventListener("submit", apply);
}
