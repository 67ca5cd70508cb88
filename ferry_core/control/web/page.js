// The status page. It follows the server's events and shows them; it knows nothing that the API does not say.

import { follow, hasToken, request, setToken } from "./api.js";
import { drawCharts } from "./charts.js";
import { drawCommands, startCommands } from "./commands.js";
import { at, setText } from "./dom.js";
import { drawEvents, drawFacts, drawGates, drawHead } from "./report.js";
import { loadSettings, startSettings } from "./settings.js";
import { changeTables, drawTables, forgetTables, startTables } from "./tables.js";

const HISTORY_MILLISECONDS = 5000;
const AGAIN_MILLISECONDS = 2000;

const known = { run: null, report: null, history: { samples: [], events: [] }, heardAt: null };
let drawing = false;

function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    const { report, run, history } = known;
    if (!report) return;
    drawHead(report, run);
    drawCommands(report, run);
    drawFacts(report, history.samples);
    drawGates(report, run);
    drawTables();
  });
}

function receive(kind, data) {
  // The run was started again with another version, whose page may differ.
  if (kind === "run" && known.run && known.run.version !== data.version) location.reload();
  if (kind === "run") known.run = data;
  if (kind === "status") known.report = data;
  if (kind === "tables") changeTables(data);
  draw();
}

function opened() {
  forgetTables();
  at("login").hidden = true;
  at("main").hidden = false;
  loadSettings();
  loadHistory();
}

function heard() {
  known.heardAt = new Date();
  setText("connection", "");
}

function askForToken() {
  at("login").hidden = false;
  at("main").hidden = true;
  setText("phase", "locked");
  setText("connection", hasToken() ? "This token is not accepted." : "A token is needed.");
  at("token").focus();
}

async function connect() {
  for (;;) {
    let problem = "No answer from the run (the connection was closed); it may have ended.";
    try {
      await follow({ opened, heard, receive });
    } catch (error) {
      if (error.status === 401) return askForToken();
      problem = error.status ? `The run refuses: ${error.message}.` : `No answer from the run (${error.message}); it may have ended.`;
    }
    const since = known.heardAt ? ` Figures are of ${known.heardAt.toLocaleTimeString()}.` : "";
    setText("connection", `${problem} Trying again.${since}`);
    await new Promise(resolve => setTimeout(resolve, AGAIN_MILLISECONDS));
  }
}

async function loadHistory() {
  if (at("main").hidden) return;
  try {
    known.history = await (await request("api/v1/history")).json();
  } catch { return; /* the stream of events says that the server is away */ }
  draw();
  drawCharts(known.history.samples);
  drawEvents(known.history.events);
}

at("login").addEventListener("submit", event => {
  event.preventDefault();
  setToken(at("token").value.trim());
  connect();
});
startTables();
startCommands();
startSettings();
drawCharts([]);
connect();
setInterval(loadHistory, HISTORY_MILLISECONDS);
