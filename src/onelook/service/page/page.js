// The page of the service: an image goes in, boxes come out. All text from outside is set as text, never as HTML.
"use strict";

const MANY_BOXES = innerWidth < 600 ? 15 : 40; // beyond that only the box that is pointed at has its label
const at = id => document.getElementById(id);
const state = { model: null, answer: null, hidden: new Set(), pinned: -1, number: 0 };

function element(tag, classes = "", text = "") {
  const made = document.createElement(tag);
  made.className = classes;
  made.textContent = text;
  return made;
}

function coloured(made, classId) {
  const known = state.model.classes[classId];
  made.style.setProperty("--colour", known.colour);
  made.style.setProperty("--text", known.text_colour);
  return made;
}

const plural = (count, one, many) => `${count} ${count === 1 ? one : many}`;
const tidy = value => (value < 100 ? value.toPrecision(2) : Math.round(value));

async function begin() {
  const answer = await fetch("model");
  state.model = await answer.json();
  const model = state.model;
  at("model").textContent = `${model.name} · ${plural(model.classes.length, "class", "classes")}`;
  at("limits").textContent = `up to ${+(model.max_bytes / 1e6).toFixed(1)} MB and ${+(model.max_pixels / 1e6).toFixed(1)} megapixels`;
  at("curl").textContent = `curl --data-binary @image.jpg ${location.origin}/detect`;
  const least = at("least");
  least.min = least.value = model.conf_thres;
}

async function look(file) {
  const number = ++state.number;
  show(file);
  say("");
  at("busy").hidden = false;
  try {
    await ready;
    const response = await fetch("detect", { method: "POST", body: file });
    const answer = await response.json();
    if (number !== state.number) return; // another image has come meanwhile
    if (!response.ok) throw new Error([answer.error, answer.hint].filter(Boolean).join("\n"));
    state.answer = answer;
    state.hidden.clear();
    state.pinned = -1;
    at("hello").hidden = true;
    at("results").hidden = false;
    at("shown").style.setProperty("--aspect", answer.size.width / answer.size.height);
    render();
  } catch (problem) {
    if (number !== state.number) return;
    forget();
    say(problem instanceof TypeError ? "The service does not answer." : problem.message);
  } finally {
    if (number === state.number) at("busy").hidden = true;
  }
}

function show(file) {
  const image = at("image");
  URL.revokeObjectURL(image.src);
  image.onerror = () => at("shown").classList.add("blank"); // a TIFF, say: the boxes are right all the same
  at("shown").classList.remove("blank");
  image.onload = () => at("shown").style.setProperty("--aspect", image.naturalWidth / image.naturalHeight);
  image.src = URL.createObjectURL(file);
  at("boxes").replaceChildren();
  at("shown").hidden = false;
  at("stage").classList.add("has-image");
}

function forget() {
  state.answer = null;
  at("shown").hidden = at("results").hidden = true;
  at("hello").hidden = false;
  at("stage").classList.remove("has-image");
}

function say(text) {
  at("problem").textContent = text;
  at("problem").hidden = !text;
}

function render() {
  const { answer } = state;
  const least = +at("least").value;
  at("leastShown").textContent = least.toFixed(least < 0.1 ? 3 : 2);
  const strong = answer.detections.filter(found => found.score >= least);
  const shown = strong.filter(found => !state.hidden.has(found.class_id));
  at("count").textContent = shown.length ? plural(shown.length, "object", "objects") : "Nothing found";
  const { width, height } = answer.size;
  at("facts").textContent = `${width} × ${height} pixels, ${tidy(answer.milliseconds.total)} ms`;
  renderChips(strong);
  renderBoxes(shown);
  renderList(shown);
  const link = at("save");
  URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(new Blob([JSON.stringify({ ...answer, detections: shown }, null, 1)], { type: "application/json" }));
  point(state.pinned, false);
}

function renderChips(strong) {
  const counts = new Map();
  for (const found of strong) counts.set(found.class_id, (counts.get(found.class_id) ?? 0) + 1);
  const chips = [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]).map(([classId, count]) => {
    const chip = coloured(element("button"), classId);
    chip.type = "button";
    chip.setAttribute("aria-pressed", String(!state.hidden.has(classId)));
    chip.append(element("i", "dot"), element("span", "", state.model.classes[classId].name), element("em", "", count));
    chip.onclick = () => {
      if (!state.hidden.delete(classId)) state.hidden.add(classId);
      state.pinned = -1;
      render();
    };
    return chip;
  });
  at("chips").replaceChildren(...chips);
}

function renderBoxes(shown) {
  const { width, height } = state.answer.size;
  const boxes = shown.map((found, place) => {
    const [x1, y1, x2, y2] = found.box;
    const made = coloured(element("div", "box"), found.class_id);
    made.style.left = `${(100 * x1) / width}%`;
    made.style.top = `${(100 * y1) / height}%`;
    made.style.width = `${(100 * (x2 - x1)) / width}%`;
    made.style.height = `${(100 * (y2 - y1)) / height}%`;
    made.classList.toggle("high", y1 < 0.06 * height);
    made.classList.toggle("far", x1 > 0.65 * width);
    made.append(element("b", "", `${found.name} ${found.score.toFixed(2)}`));
    link(made, place);
    return made;
  });
  at("boxes").replaceChildren(...boxes.reverse()); // the strongest on top
  at("boxes").classList.toggle("crowded", shown.length > MANY_BOXES);
}

function renderList(shown) {
  const rows = shown.map((found, place) => {
    const row = coloured(element("li"), found.class_id);
    const bar = element("u");
    bar.append(element("i"));
    bar.firstChild.style.width = `${100 * found.score}%`;
    row.append(element("i", "dot"), element("span", "", found.name), bar, element("em", "", found.score.toFixed(2)));
    row.title = `${found.name}: ${found.box.map(side => Math.round(side)).join(", ")}`;
    link(row, place);
    return row;
  });
  at("found").replaceChildren(...rows);
}

function link(made, place) {
  made.dataset.place = place;
  made.onpointerenter = event => event.pointerType === "mouse" && point(place, made.tagName !== "LI");
  made.onpointerleave = event => event.pointerType === "mouse" && point(state.pinned, false);
  made.onclick = () => {
    state.pinned = state.pinned === place ? -1 : place;
    point(state.pinned, made.tagName !== "LI");
  };
}

function point(place, scrolls) {
  at("boxes").classList.toggle("pointing", place >= 0);
  for (const made of document.querySelectorAll("[data-place]")) made.classList.toggle("lit", +made.dataset.place === place);
  const row = at("found").querySelector(".lit");
  if (scrolls && row) row.scrollIntoView({ block: "nearest" });
}

const imageIn = files => [...(files ?? [])].find(file => !file.type || file.type.startsWith("image/"));

let depth = 0; // enter and leave events of the elements below come in pairs
document.addEventListener("dragenter", event => {
  event.preventDefault();
  depth += 1;
  at("stage").classList.add("dragging");
});
document.addEventListener("dragleave", () => {
  depth = Math.max(0, depth - 1);
  if (!depth) at("stage").classList.remove("dragging");
});
document.addEventListener("dragover", event => event.preventDefault());
document.addEventListener("drop", event => {
  event.preventDefault();
  depth = 0;
  at("stage").classList.remove("dragging");
  take(event.dataTransfer.files);
});
document.addEventListener("paste", event => {
  if (event.clipboardData.files.length) take(event.clipboardData.files);
});
at("file").addEventListener("change", event => {
  take(event.target.files);
  event.target.value = ""; // the same file may be chosen again
});
at("least").addEventListener("input", () => {
  state.pinned = -1;
  render();
});

function take(files) {
  const file = imageIn(files);
  if (file) look(file);
  else if (files.length) say("That is no image.");
}

const ready = begin();
ready.catch(() => say("The service does not answer."));
