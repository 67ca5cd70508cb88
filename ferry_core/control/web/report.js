// Where the run is: what happens now and next, progress, gates of the cutover, attempts, recent events.

import { at, clock, element, numbers, seconds, setText, time } from "./dom.js";

const MOODS = { Completed: "good", ReadyForCutover: "good", Paused: "warn", Failed: "bad", Aborted: "bad" };

function next(report, run) {
  const approved = run && run.cutoverApproved;
  const ends = report.progress.estimatedCompletionTime;
  switch (report.phase) {
    case "Pending": case "Validating": return "Next: the tables are copied.";
    case "Copying": return `Next: changes are applied until the target has caught up.${ends ? ` The copy should be done by ${clock(ends)}.` : ""}`;
    case "Streaming": return approved ? "Next: the cutover, as soon as every gate is passed." : "Next: once every gate is passed, the cutover waits for approval.";
    case "ReadyForCutover": return approved ? "Next: the cutover begins." : "Next: somebody approves the cutover.";
    case "CuttingOver": return "Next: writes move to the target, or are allowed on the source again.";
    case "Completed": return "Next: point applications at the target. The run ends by itself.";
    case "Paused": return "Next: somebody resumes the run.";
    case "Failed": return report.failure && report.failure.retriable ? "Next: the run is started again; it resumes from its checkpoint." : "Next: somebody fixes the cause and starts the run again.";
    case "Aborted": return "Nothing follows: the run was aborted.";
  }
  return "";
}

export function drawHead(report, run) {
  const name = run ? run.name : "mysql-ferry";
  setText("name", name);
  setText("phase", report.phase);
  at("phase").className = `badge ${MOODS[report.phase] || ""}`;
  setText("now", `Now: ${report.message || report.stage}`);
  setText("next", next(report, run));
  const stalled = report.conditions.find(each => each.type === "Stalled" && each.status === "True");
  setText("problem", report.failure ? `${report.failure.reason}: ${report.failure.message}`
    : stalled ? `A person is needed. ${stalled.reason}: ${stalled.message}` : "");
  document.title = `${report.phase} ${Math.floor(report.progress.percent)}% ${name}`;
}

function define(id, pairs) {
  at(id).replaceChildren(...pairs.map(([name, value, kind]) => {
    const one = element("div");
    one.append(element("dt", name), element("dd", value, kind));
    return one;
  }));
}

// Absent in the report of an older copier.
function passes({ passes = 0, lastPassTime = null, passRows = null }) {
  const last = lastPassTime ? `, the last at ${clock(lastPassTime)}` : "";
  const now = passRows === null ? "" : `; one is under way: ${numbers.format(passRows)} rows compared`;
  return `${numbers.format(passes)}${last}${now}`;
}

export function drawFacts({ progress, replication, throttle, verification, cutover }, samples) {
  const rate = samples.length ? `${numbers.format(Math.round(samples.at(-1).rowsPerSecond))} /s` : "-";
  at("all").value = progress.percent;
  setText("percent", `${progress.percent}%`);
  define("facts", [
    ["Tables copied", `${numbers.format(progress.tablesCopied)} of ${numbers.format(progress.tablesTotal)}`],
    ["Rows copied", `${numbers.format(progress.rowsCopied)} of about ${numbers.format(progress.rowsEstimated)}`],
    ["Rows written", rate],
    ["Copy done by", progress.estimatedCompletionTime ? clock(progress.estimatedCompletionTime) : "-"],
    ["Lag", seconds(replication.lagSeconds)],
    ["Keys pending", numbers.format(replication.pendingKeys)],
    ["Source keeps binlogs for", seconds(replication.sourceBinlogRetainedSeconds)],
    ["Throttled", throttle.active ? `${throttle.reason}, since ${time(throttle.since)}` : "no", throttle.active ? "warn" : ""],
    ["Rows verified", numbers.format(verification.rowsVerified)],
    ["Rows that differ", numbers.format(verification.rowsDiffering), verification.rowsDiffering > verification.rowsRepaired ? "bad" : ""],
    ["Rows repaired", numbers.format(verification.rowsRepaired)],
    ["Keys unproven", numbers.format(verification.unprovenKeys)],
    ["Verification passes", passes(verification)],
  ]);
  define("attempts", [
    ["Attempts", String(cutover.attempts)],
    ["Last attempt", cutover.lastAttemptTime ? clock(cutover.lastAttemptTime) : "none"],
    ["Its result", cutover.lastResult || "-"],
    ["Writes blocked", cutover.writesBlockedMilliseconds === null ? "-" : `${numbers.format(cutover.writesBlockedMilliseconds)} ms`],
  ]);
}

const GATES = [["Validated", "Preflight has passed"], ["CopyComplete", "All rows are copied"], ["CaughtUp", "The target has caught up"],
  ["Verified", "Source and target are verified to be equal"], ["ReadyForCutover", "Every gate is passed"], ["CutOver", "Cut over"]];
const VERDICTS = { True: ["✓ yes", "good"], False: ["✗ no", "warn"], Unknown: ["? unknown", "soft"] };

const SHORT = 160;
let drawn = "";

function gate([title, status, text]) {
  const [word, kind] = VERDICTS[status];
  const one = element("li");
  one.append(element("strong", `${title}: `), element("span", word, kind));
  if (text.length > SHORT) {
    const more = element("details");
    more.append(element("summary", `${text.slice(0, SHORT)}…`), element("p", text));
    one.append(more);
  } else if (text) one.append(element("span", ` ${text}`));
  return one;
}

export function drawGates(report, run) {
  const gates = GATES.map(([type, title]) => {
    const found = report.conditions.find(each => each.type === type);
    return [title, found ? found.status : "Unknown", found ? `(${found.reason}) ${found.message}` : ""];
  });
  if (run) {
    const automatic = run.cutoverMode === "Manual" ? "" : `cutover.mode is ${run.cutoverMode}`;
    gates.splice(-1, 0, ["Approved", run.cutoverApproved ? "True" : "False", automatic]);
  }
  // Redrawn only if they changed: what somebody has unfolded stays so.
  if (drawn === JSON.stringify(gates)) return;
  drawn = JSON.stringify(gates);
  at("gates").replaceChildren(...gates.map(gate));
}

export function drawEvents(events) {
  at("events").replaceChildren(...events.slice().reverse().map(each => {
    const one = element("li");
    const what = each.type === "Stage" ? `The stage is ${each.status}`
      : each.type === "CutoverAttempt" ? `Cutover attempt ${each.status} began` : `${each.type} is ${each.status}`;
    one.append(element("time", clock(each.time)), ` ${what}${each.reason ? ` (${each.reason})` : ""} ${each.message}`);
    return one;
  }));
}
