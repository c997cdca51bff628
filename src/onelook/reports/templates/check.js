// The list of the images that are to be labelled next: one path a line, each once, as it stands on the page.
"use strict";
const startList = () => {
  const button = document.querySelector("#save-list");
  if (!button) return;
  const chosen = () => new Set(Array.from(document.querySelectorAll("input.next:checked"), (one) => one.value));
  const count = () => { document.querySelector("#chosen").textContent = `${chosen().size} images`; };
  button.addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([...chosen()].map((path) => `${path}\n`), { type: "text/plain" }));
    link.download = "label-next.txt";
    link.click();
  });
  document.addEventListener("change", count);
  count();
};
startList();
