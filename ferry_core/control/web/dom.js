// Helpers of the page's modules: elements, and figures as people read them. Every text from the server becomes text of
// an element, never markup: names of tables come from other people's schemas.

export const at = id => document.getElementById(id);
export const numbers = new Intl.NumberFormat("en");
export const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export function element(tag, text, kind) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

export function setText(id, text) {
  // Unchanged text is left alone: a screen reader would say it again.
  if (at(id).textContent !== text) at(id).textContent = text;
}

export function seconds(value) {
  if (value === null || value === undefined) return "unknown";
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 120) return `${value.toFixed(1)} s`;
  if (value < 7200) return `${Math.round(value / 60)} min`;
  return value < 172800 ? `${Math.round(value / 3600)} h` : `${Math.round(value / 86400)} d`;
}

export const clock = moment => new Date(moment).toLocaleString([], { dateStyle: "short", timeStyle: "medium" });
export const time = moment => new Date(moment).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
