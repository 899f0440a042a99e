// The live page: rows and figures by server-sent events, pause and resume, filters, small charts.

const MOST_ROWS = 200;
const rows = document.getElementById("rows");
const none = document.getElementById("none");
const state = document.getElementById("state");
const pause = document.getElementById("pause");
const filters = document.getElementById("filters");
const charts = new Map();
let source = null;
let last = "";

function wanted() {
  const given = filters ? new FormData(filters) : [];
  return new URLSearchParams([...given].filter(([, value]) => value !== ""));
}

function connect() {
  source?.close();
  const asked = wanted();
  if (last) asked.set("after", last);
  source = new EventSource(`/live/events?${asked}`);
  source.addEventListener("rows", (event) => {
    last = event.lastEventId;
    rows.insertAdjacentHTML("afterbegin", event.data);
    while (rows.childElementCount > MOST_ROWS) rows.lastElementChild.remove();
    none.hidden = true;
  });
  source.addEventListener("figures", (event) => figures(JSON.parse(event.data)));
  source.addEventListener("full", () => {
    source.close();
    state.textContent = "Too many pages are open; close some and load this one again.";
  });
  source.onerror = () => {
    state.textContent = "The console does not answer; it is tried again.";
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 3000);
  };
}

function figures({ series, dropped, fault }) {
  const parts = [];
  if (fault) parts.push(`Kafka: ${fault}`);
  if (dropped) parts.push(`${dropped.toLocaleString("en")} came too fast and are not shown`);
  state.textContent = parts.join(" · ") || "up to date";
  state.classList.toggle("bad", Boolean(fault));
  for (const [name, chart] of charts) {
    chart.setData([series.t, series[name]]);
    const known = series[name].slice(0, -1).filter((each) => each !== null);
    const now = known.length ? known[known.length - 1] : null;
    document.getElementById(`now-${name}`).textContent = now === null ? "–" : now.toLocaleString("en");
  }
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// A value between gaps is no line: it is drawn as a point.
function alone(plot, index) {
  const values = plot.data[index];
  const found = [];
  values.forEach((value, at) => {
    if (value !== null && (values[at - 1] ?? null) === null && (values[at + 1] ?? null) === null) found.push(at);
  });
  return found;
}

function draw() {
  for (const element of document.querySelectorAll(".plot")) {
    charts.get(element.dataset.series)?.destroy();
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--rule"), width: 1 }, ticks: { show: false } };
    const number = element.id.endsWith("failures") ? 2 : element.id.endsWith("rtfx") ? 1 : 0;
    const line = colour(`--series-${number}`);
    const options = {
      width: element.clientWidth,
      height: 90,
      legend: { show: false },
      cursor: { show: false },
      scales: { y: { range: (_, low, high) => [0, Math.max(high ?? 0, 1)] } },
      axes: [
        { ...axis, size: 22, space: 70, values: "{HH}:{mm}" },
        { ...axis, size: 38, space: 28 },
      ],
      series: [{}, { stroke: line, fill: `${line}22`, width: 1.5, points: { show: true, size: 4, fill: line, width: 0, filter: alone } }],
    };
    charts.set(element.dataset.series, new uPlot(options, [[], []], element));
  }
}

function resume() {
  pause.setAttribute("aria-pressed", "false");
  pause.textContent = "Pause";
  connect();
}

pause?.addEventListener("click", () => {
  if (pause.getAttribute("aria-pressed") === "true") {
    resume();
    return;
  }
  source.close();
  pause.setAttribute("aria-pressed", "true");
  pause.textContent = "Resume";
  state.textContent = "Paused: nothing is read until you resume.";
});

let changed = 0;
filters?.addEventListener("input", () => {
  clearTimeout(changed);
  changed = setTimeout(() => {
    history.replaceState(null, "", `?${wanted()}`);
    rows.replaceChildren();
    none.hidden = false;
    last = "";
    resume();
  }, 300);
});
filters?.addEventListener("submit", (event) => event.preventDefault());

let resized = 0;
window.addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(draw, 200);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
window.addEventListener("pagehide", () => source?.close());
window.addEventListener("pageshow", (event) => {
  if (event.persisted && pause?.getAttribute("aria-pressed") !== "true") connect();
});
draw();
connect();
