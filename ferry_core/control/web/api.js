// The run's API: requests with the token, and the stream of events. Used by all other modules.

const SILENT_MILLISECONDS = 45000; // the server sends a comment every 15 s

let token = sessionStorage.getItem("ferry-token");

export const hasToken = () => token !== null;

export function setToken(text) {
  token = text;
  sessionStorage.setItem("ferry-token", text);
}

// The answer. An error has `status` if the server refused, and `command` if it names one for a shell to use instead.
export async function request(path, method = "GET", body, signal) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(path, { method, headers, signal, cache: "no-store", body: body && JSON.stringify(body) });
  if (answer.ok) return answer;
  const refused = await answer.json().catch(() => ({ message: answer.statusText }));
  throw Object.assign(new Error(refused.message), { status: answer.status, command: refused.command });
}

// Call `opened`, then `heard` for each line and `receive` with each event, until the stream ends. A connection whose
// other side has vanished would stay open for hours: after a silence it is given up.
export async function follow({ opened, heard, receive }) {
  const silence = new AbortController();
  let timer;
  const wait = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(new Error("it has been silent")), SILENT_MILLISECONDS);
  };
  wait();
  try {
    const answer = await request("api/v1/events", "GET", undefined, silence.signal);
    opened();
    let kind = "";
    for await (const line of lines(answer)) {
      wait();
      if (line.startsWith("event: ")) kind = line.slice(7);
      if (line.startsWith("data: ")) receive(kind, JSON.parse(line.slice(6)));
      heard();
    }
  } finally {
    clearTimeout(timer);
  }
}

async function* lines(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const whole = (rest + value).split("\n");
    rest = whole.pop();
    yield* whole;
  }
}
