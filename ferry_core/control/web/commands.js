// The buttons. What cannot be undone is asked first. Under an operator the server refuses every command and names the
// kubectl line to use instead: that is shown to copy.

import { request } from "./api.js";
import { at, setText } from "./dom.js";
import { loadSettings } from "./settings.js";

const ENDED = ["Completed", "Failed", "Aborted"];
let run = null;

export function drawCommands(report, now) {
  run = now;
  const approved = Boolean(run && run.cutoverApproved);
  setText("pause", run && run.paused ? "Resume" : "Pause");
  for (const button of at("actions").children) button.disabled = ENDED.includes(report.phase);
  at("verify").disabled = !["Streaming", "ReadyForCutover"].includes(report.phase);
  at("cutover").hidden = approved;
  at("withdraw").hidden = !approved;
}

function ask({ title, text, yes, number = false, line = "" }) {
  setText("ask-title", title);
  setText("ask-text", text);
  setText("ask-yes", yes);
  setText("ask-command", line);
  at("ask-command").hidden = !line;
  at("ask-field").hidden = !number;
  at("ask-number").value = "";
  return new Promise(resolve => {
    const dialog = at("ask");
    at("ask-no").onclick = () => dialog.close("no");
    at("ask-form").onsubmit = event => { event.preventDefault(); dialog.close("yes"); };
    dialog.onclose = () => resolve(dialog.returnValue === "yes");
    dialog.returnValue = "no";
    dialog.showModal();
    // What cannot be undone is never one key away.
    at(number ? "ask-number" : "ask-no").focus();
  });
}

async function showLine(line) {
  const text = "This run follows its Ferry resource. Run this command instead:";
  if (!await ask({ title: "Use kubectl", text, yes: "Copy", line })) return;
  try {
    await navigator.clipboard.writeText(line);
    setText("said", "The command is copied.");
  } catch {
    setText("said", line);
  }
}

// Whether the run did it. The page says what came of it.
export async function command(path, method, body, done) {
  try {
    const answer = await (await request(path, method, body)).json();
    setText("said", done || answer.message);
    return true;
  } catch (error) {
    if (error.command) await showLine(error.command);
    else setText("said", error.status ? `Refused: ${error.message}` : `No answer (${error.message}): it is not known whether the run got this command.`);
    return false;
  }
}

const post = (verb, body = {}) => command(`api/v1/${verb}`, "POST", body);
const sure = question => (run && run.managed ? true : ask(question));

async function throttle() {
  const text = "At most this many rows are moved per second. Leave it empty for no limit.";
  if (!await ask({ title: "Throttle", text, yes: "Apply", number: true })) return;
  if (await post("throttle", { maxRowsPerSecond: Number(at("ask-number").value) || null })) loadSettings();
}

async function cutover() {
  const text = "Once every gate is passed, writes on the source are stopped and move to the target. This cannot be undone after the hand-over.";
  if (await sure({ title: "Cut over?", text, yes: "Approve the cutover" })) post("cutover");
}

async function abort() {
  const text = "The run ends for good. Writes stay allowed on the source, and the target keeps what was copied. This cannot be undone.";
  if (await sure({ title: "Abort this run?", text, yes: "Abort for good" })) post("abort");
}

export function startCommands() {
  at("pause").addEventListener("click", () => post(run && run.paused ? "resume" : "pause"));
  at("withdraw").addEventListener("click", () => post("withdraw"));
  at("throttle").addEventListener("click", throttle);
  at("verify").addEventListener("click", () => post("verify"));
  at("cutover").addEventListener("click", cutover);
  at("abort").addEventListener("click", abort);
}
