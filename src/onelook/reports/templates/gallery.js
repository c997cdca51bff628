// Images that grow when they are pressed, and boxes that can be hidden.
"use strict";
// Moves words that would cover each other up or down, as little as will do, and into the image; where there is no room
// for a word, its box goes without.
const spreadWords = (drawing) => {
  const { width, height } = drawing.viewBox.baseVal;
  const placed = [];
  for (const word of drawing.querySelectorAll(".word:not(.crowded)")) {
    const box = word.getBBox();
    const edge = 0.15 * box.height;  // letters have a dark rim
    const [wide, high] = [box.width + 2 * edge, box.height + 2 * edge];
    const x = Math.max(Math.min(box.x - edge, width - wide), 0);
    const isFree = (y) => y >= 0 && y + high <= height && placed.every((other) => y + high <= other.y
      || y >= other.y + other.high || x + wide <= other.x || x >= other.x + other.wide);
    const steps = Array.from({ length: 80 }, (_, i) => (i % 2 ? 1 : -1) * Math.ceil(i / 2) * 0.5 * high);
    const y = steps.map((step) => box.y - edge + step).find(isFree);
    if (y === undefined) {
      word.classList.add("crowded");
      continue;
    }
    word.setAttribute("x", Number(word.getAttribute("x")) + x + edge - box.x);
    word.setAttribute("y", Number(word.getAttribute("y")) + y + edge - box.y);
    placed.push({ x, y, wide, high });
  }
};
const startGalleries = (root) => {
  for (const gallery of root.querySelectorAll(".gallery")) {
    for (const choice of gallery.querySelectorAll("input[data-part]")) {
      const hide = () => gallery.classList.toggle(`hide-${choice.dataset.part}`, !choice.checked);
      choice.addEventListener("change", hide);
      hide();
    }
    gallery.addEventListener("click", (event) => {
      const button = event.target.closest(".image > button");
      if (!button) return;
      const isWide = button.parentElement.classList.toggle("wide");
      button.setAttribute("aria-expanded", String(isWide));
      if (!isWide) return;
      spreadWords(button.querySelector("svg"));
      button.parentElement.scrollIntoView({ block: "nearest" });
    });
  }
};
startGalleries(document);
