// The images that the filters leave, a few dozen at a time; boxes are drawn over small copies.
"use strict";
const startImages = () => {
  const SHOWN = 48;
  const SVG = document.querySelector(".key svg").namespaceURI;
  const { names, images } = JSON.parse(document.querySelector("#data").textContent);
  const [kind, one, score] = ["#kind", "#class", "#score"].map((each) => document.querySelector(each));
  const shown = document.querySelector("#shown");
  const more = document.querySelector("#more");
  const svg = (name, attributes, text) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const element = (name, text, className = "") => {
    const made = document.createElement(name);
    made.textContent = text;
    if (className) made.className = className;
    return made;
  };
  const chosen = (image) => {
    const isWanted = (row) => one.value === "" || row[4] === Number(one.value);
    return {
      labels: image.labels.filter(isWanted),
      detections: image.detections.filter((row) => isWanted(row) && row[6] >= Number(score.value)),
    };
  };
  const passes = ({ labels, detections }) => {
    const wrong = detections.some((row) => !row[5]);
    const missed = labels.some((row) => !row[5]);
    if (kind.value === "errors") return wrong || missed;
    if (kind.value === "wrong") return wrong;
    if (kind.value === "missed") return missed;
    if (kind.value === "right") return detections.some((row) => row[5]);
    return one.value === "" || labels.length + detections.length > 0;
  };
  const box = (drawing, [left, top, right, bottom], className, words, letters) => {
    const size = { width: Math.max(right - left, 0), height: Math.max(bottom - top, 0) };
    drawing.append(svg("rect", { x: left, y: top, ...size, class: `box ${className}` }));
    if (!words) return;
    const above = top - 0.3 * letters;
    const y = above > letters ? above : top + letters;
    drawing.append(svg("text", { x: Math.max(left, 0), y, "font-size": letters, class: `word ${className}` }, words));
  };
  const figure = (image, { labels, detections }) => {
    const [width, height] = image.size;
    const letters = 0.024 * Math.max(width, height);
    const counts = `${detections.filter((row) => row[5]).length} right, ${detections.filter((row) => !row[5]).length} wrong, `
      + `${labels.filter((row) => !row[5]).length} missed`;
    const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${image.name}: ${counts}` });
    drawing.append(svg("image", { href: image.file, width, height }));
    for (const row of labels) box(drawing, row, row[5] ? "found" : "missed", row[5] ? "" : names[row[4]], letters);
    for (const row of detections) {
      box(drawing, row, row[5] ? "right" : "wrong", `${names[row[4]]} ${row[6].toFixed(2)}`, letters);
    }
    const made = element("figure", "", "image");
    const button = element("button", "");
    button.type = "button";
    button.setAttribute("aria-expanded", "false");
    button.append(drawing);
    const caption = element("figcaption", "");
    caption.title = image.path;
    caption.append(element("bdi", image.name), element("small", counts));
    made.append(button, caption);
    return made;
  };
  let left = [];
  const show = () => {
    shown.append(...left.splice(0, SHOWN).map(([image, boxes]) => figure(image, boxes)));
    more.hidden = left.length === 0;
  };
  const filter = () => {
    left = images.map((image) => [image, chosen(image)]).filter(([, boxes]) => passes(boxes));
    document.querySelector("#least").textContent = Number(score.value).toFixed(2);
    document.querySelector("#count").textContent = `${left.length} of ${images.length} images`;
    shown.replaceChildren();
    show();
  };
  for (const control of [kind, one, score]) control.addEventListener("input", filter);
  more.addEventListener("click", show);
  filter();
};
startImages();
