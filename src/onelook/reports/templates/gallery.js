// Images that grow when they are pressed, and boxes that can be hidden.
"use strict";
const startGalleries = (root) => {
  for (const gallery of root.querySelectorAll(".gallery")) {
    for (const choice of gallery.querySelectorAll("input[data-part]")) {
      const hide = () => gallery.classList.toggle(`hide-${choice.dataset.part}`, !choice.checked);
      choice.addEventListener("change", hide);
      hide();
    }
    for (const button of gallery.querySelectorAll(".image > button")) {
      button.addEventListener("click", () => {
        const isWide = button.parentElement.classList.toggle("wide");
        button.setAttribute("aria-expanded", String(isWide));
        if (isWide) button.parentElement.scrollIntoView({ block: "nearest" });
      });
    }
  }
};
startGalleries(document);
