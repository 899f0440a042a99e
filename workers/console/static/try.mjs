// The form of a try: a file that is dropped, or a recording by the microphone.

const MOST_MS = 60_000;
const file = document.getElementById("file");
const drop = document.getElementById("drop");
const record = document.getElementById("record");
const recorded = document.getElementById("recorded");
const listen = document.getElementById("listen");
let recorder = null;

function take(found) {
  const transfer = new DataTransfer();
  transfer.items.add(found);
  file.files = transfer.files;
  file.dispatchEvent(new Event("change"));
}

file.addEventListener("change", () => {
  if (listen.src) URL.revokeObjectURL(listen.src);
  listen.hidden = !file.files.length;
  if (file.files.length) listen.src = URL.createObjectURL(file.files[0]);
});

for (const kind of ["dragenter", "dragover"]) {
  drop.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
}
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
});

async function begin() {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const parts = [];
  recorder = new MediaRecorder(stream);
  const begun = Date.now();
  const shown = setInterval(() => {
    const passed = Date.now() - begun;
    recorded.textContent = `recording, ${(passed / 1000).toFixed(0)} s`;
    if (passed > MOST_MS) recorder.stop();
  }, 250);
  recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
  recorder.addEventListener("stop", () => {
    clearInterval(shown);
    for (const track of stream.getTracks()) track.stop();
    const kind = recorder.mimeType.split(";")[0];
    take(new File(parts, `recording.${kind.split("/")[1] ?? "webm"}`, { type: kind }));
    recorded.textContent = `recorded ${((Date.now() - begun) / 1000).toFixed(0)} s`;
    record.textContent = "Record again";
    record.setAttribute("aria-pressed", "false");
    recorder = null;
  });
  recorder.start();
  record.textContent = "Stop";
  record.setAttribute("aria-pressed", "true");
}

record.hidden = !(navigator.mediaDevices && window.MediaRecorder);
if (record.hidden) recorded.textContent = "Recording needs https, or the console on this machine.";
record.addEventListener("click", async () => {
  if (recorder) {
    recorder.stop();
    return;
  }
  try {
    await begin();
  } catch (error) {
    recorded.textContent = `The microphone cannot be used (${error.name}).`;
  }
});
