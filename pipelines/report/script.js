"use strict";
// The page works without this: cells are links, the style sheet opens what a link leads to, and the browser moves the
// focus there. This tells which one is open, lets Escape close it and gives the focus back, moves along the epochs of
// the curves by keys, and copies the command.

const opened = () => {
  const place = document.getElementById(location.hash.slice(1)); // ids are plain letters: nothing is to be decoded
  return place && place.classList.contains("gallery") ? place : null;
};

const show = () => {
  const gallery = opened();
  for (const link of document.querySelectorAll("a[aria-expanded]")) {
    link.setAttribute("aria-expanded", String(gallery !== null && link.hash === `#${gallery.id}`));
  }
};

const close = (gallery) => {
  const link = document.querySelector(`a[aria-expanded][href="#${gallery.id}"]`);
  location.hash = gallery.dataset.back;
  if (link) link.focus();
};

for (const link of document.querySelectorAll("a[data-gallery]")) link.setAttribute("aria-expanded", "false");

addEventListener("hashchange", show);
show();

document.addEventListener("keydown", (event) => {
  const gallery = opened();
  if (event.key === "Escape" && gallery) close(gallery);
});

document.addEventListener("click", (event) => {
  const back = event.target.closest("a.back");
  if (back) {
    event.preventDefault();
    close(back.closest(".gallery"));
  }
});

const charts = [...document.querySelectorAll(".chart")].map((chart) => ({chart, epochs: [...chart.querySelectorAll(".epoch")]}))
  .filter(({epochs}) => epochs.length);
const kept = charts.length ? charts[0].epochs.findIndex((epoch) => epoch.classList.contains("on")) : 0;
let chosen = kept;

const choose = (place) => {
  chosen = Math.max(0, Math.min(place, charts[0].epochs.length - 1));
  for (const {chart, epochs} of charts) {
    epochs.forEach((epoch, i) => epoch.classList.toggle("on", i === chosen));
    const at = epochs[Math.min(chosen, epochs.length - 1)];
    chart.setAttribute("aria-valuenow", String(chosen));
    chart.setAttribute("aria-valuetext", at.querySelector(".value").textContent);
  }
};

const steps = {ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, Home: -Infinity, End: Infinity};

for (const {chart, epochs} of charts) {
  const named = {role: "slider", tabindex: "0", "aria-label": `${chart.dataset.name}, epoch by epoch`,
    "aria-valuemin": "0", "aria-valuemax": String(epochs.length - 1)};
  for (const [name, value] of Object.entries(named)) chart.setAttribute(name, value);
  const point = (event) => {
    const place = epochs.indexOf(event.target.closest(".epoch"));
    if (place >= 0) choose(place);
  };
  chart.addEventListener("pointermove", point);
  chart.addEventListener("pointerdown", point);
  chart.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") choose(kept); }); // a finger lifts
  chart.addEventListener("blur", () => choose(kept));
  chart.addEventListener("keydown", (event) => {
    if (!(event.key in steps) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    choose(chosen + steps[event.key]);
  });
}
if (charts.length) choose(kept);

for (const button of document.querySelectorAll("button[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const name = button.textContent;
    try {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed to copy: select the text";
    }
    setTimeout(() => { button.textContent = name; }, 2000);
  });
}
