// Players of the page: waveform, spectrogram, words that can be clicked and follow the audio.

import WaveSurfer from "./vendor/wavesurfer.esm.js";
import Spectrogram from "./vendor/wavesurfer-spectrogram.esm.js";

const { nonce } = document.querySelector("script[data-nonce]").dataset;
const players = [];

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

class Player {
  constructor(section) {
    this.section = section;
    this.scope = section.parentElement;
    this.play = section.querySelector(".play");
    this.at = section.querySelector(".at");
    this.trouble = section.querySelector(".trouble");
    this.words = [...this.scope.querySelectorAll(".word[data-start]")].map((element) => ({
      element,
      start: Number(element.dataset.start),
      end: Number(element.dataset.end),
    }));
    this.wave = WaveSurfer.create({
      container: section.querySelector(".wave"),
      url: section.dataset.source,
      height: 72,
      waveColor: colour("--soft"),
      progressColor: colour("--link"),
      cursorColor: colour("--ink"),
      cspNonce: nonce,
    });
    this.wave.on("ready", () => this.ready());
    this.wave.on("error", () => this.failed());
    this.wave.on("play", () => (this.play.textContent = "Pause"));
    this.wave.on("pause", () => (this.play.textContent = "Play"));
    this.wave.on("timeupdate", (now) => this.follow(now));
    this.play.addEventListener("click", () => this.toggle());
    section.querySelector(".speed").addEventListener("change", (event) => {
      this.wave.setPlaybackRate(Number(event.target.value), true);
    });
    const spectrum = section.querySelector(".spectrum");
    spectrum.addEventListener("click", () => this.showSpectrum(spectrum));
    for (const word of this.words) {
      word.element.addEventListener("click", () => this.say(word));
    }
  }

  ready() {
    this.play.disabled = false;
    this.section.querySelector(".spectrum").disabled = false;
    this.follow(0);
  }

  async failed() {
    const answer = await fetch(this.section.dataset.source, { headers: { "hx-request": "true", range: "bytes=0-0" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const reason = answer.ok ? "the browser cannot play it" : page.querySelector("p")?.textContent;
    this.trouble.textContent = `No audio: ${reason ?? "it cannot be had"}`;
    this.trouble.hidden = false;
  }

  toggle() {
    for (const other of players) if (other !== this) other.wave.pause();
    this.wave.playPause();
  }

  say({ start, end }) {
    if (this.play.disabled) return;
    for (const other of players) if (other !== this) other.wave.pause();
    this.wave.play(start, Math.max(end, start + 0.15));
  }

  follow(now) {
    this.at.textContent = `${now.toFixed(1)} / ${this.wave.getDuration().toFixed(1)} s`;
    for (const { element, start, end } of this.words) {
      element.classList.toggle("now", start <= now && now < end);
    }
  }

  showSpectrum(button) {
    if (this.spectrum) {
      this.spectrum.destroy();
      this.spectrum = null;
    } else {
      const container = this.section.querySelector(".spectrogram");
      this.spectrum = this.wave.registerPlugin(
        Spectrogram.create({ container, height: 128, labels: true, fftSamples: 512, cspNonce: nonce }),
      );
    }
    button.setAttribute("aria-pressed", String(Boolean(this.spectrum)));
  }
}

function start() {
  for (const section of document.querySelectorAll(".player:not([data-started])")) {
    section.dataset.started = "";
    players.push(new Player(section));
  }
}

document.addEventListener("keydown", (event) => {
  const busy = event.target.closest("input, select, textarea, button, a, [tabindex]");
  const player = players.find((each) => each.wave.isPlaying()) ?? players[0];
  if (busy || !player || player.play.disabled || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === " ") player.toggle();
  else if (event.key === "ArrowLeft") player.wave.skip(-1);
  else if (event.key === "ArrowRight") player.wave.skip(1);
  else return;
  event.preventDefault();
});
document.addEventListener("htmx:afterSettle", start);
start();
