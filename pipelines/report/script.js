"use strict";
// The page works without this: cells are links, the style sheet opens what a link leads to, and the browser moves the
// focus there. This tells which one is open, lets Escape close it and gives the focus back, lets a pointer click the
// picture, and copies the command.

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
  const cell = event.target.closest("[data-cell]");
  if (cell) location.hash = cell.dataset.cell;
  const back = event.target.closest("a.back");
  if (back) {
    event.preventDefault();
    close(back.closest(".gallery"));
  }
});

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
