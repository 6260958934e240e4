"use strict";
// Without this the page is read by scrolling. With it, arrow keys turn from stage to stage, and a corner tells which.

const stages = [...document.querySelectorAll(".stage")];
const place = document.getElementById("place");

const current = () => {
  const tops = stages.map((stage) => Math.abs(stage.getBoundingClientRect().top));
  return tops.indexOf(Math.min(...tops));
};

const tell = () => { place.textContent = `${current() + 1} / ${stages.length}`; };

let turned = null; // where the keys lead to, while the page is still on its way

const turn = (number) => {
  turned = Math.max(0, Math.min(stages.length - 1, number));
  stages[turned].scrollIntoView();
  stages[turned].focus({ preventScroll: true });
};

const steps = { ArrowRight: 1, PageDown: 1, ArrowLeft: -1, PageUp: -1 };

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const from = turned === null ? current() : turned;
  if (event.key in steps) turn(from + steps[event.key]);
  else if (event.key === "Home") turn(0);
  else if (event.key === "End") turn(stages.length - 1);
  else return;
  event.preventDefault();
});

addEventListener("wheel", () => { turned = null; }, { passive: true });
addEventListener("touchmove", () => { turned = null; }, { passive: true });
addEventListener("scroll", tell, { passive: true });
addEventListener("resize", tell);
tell();
