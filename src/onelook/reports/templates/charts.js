// Values in the legend of a chart: of the place under the mouse or finger; otherwise of the last place, or none.
"use strict";
const startCharts = (root) => {
  for (const figure of root.querySelectorAll("figure.chart")) {
    const block = figure.querySelector("script[type='application/json']");
    if (!block) continue;
    const data = JSON.parse(block.textContent);
    const drawing = figure.querySelector("svg[role='img']");
    const cursor = drawing.querySelector(".cursor");
    const values = figure.querySelectorAll(".legend .value");
    const place = document.createElement("span");
    place.className = "place";
    figure.querySelector("figcaption").append(place);

    const nearest = (xs, wanted) => {
      let best = 0;
      for (let i = 1; i < xs.length; i += 1) if (Math.abs(xs[i] - wanted) < Math.abs(xs[best] - wanted)) best = i;
      return best;
    };
    const short = (value) => {
      if (value === null) return "–";
      const isTiny = value !== 0 && Math.abs(value) < 0.001;
      return isTiny ? value.toExponential(2) : String(Number(value.toPrecision(4)));
    };
    const show = (wanted) => {
      data.lines.forEach((line, i) => {
        if (wanted === null && !data.ends) {
          values[i].textContent = "";
          return;
        }
        const at = wanted === null ? line.y.findLastIndex((y) => y !== null) : nearest(line.x, wanted);
        values[i].textContent = at < 0 ? "–" : short(line.y[at]);
      });
      if (wanted === null) {
        cursor.classList.remove("on");
        place.textContent = "";
        return;
      }
      const longest = data.lines.reduce((one, other) => (other.x.length > one.x.length ? other : one));
      const x = longest.x[nearest(longest.x, wanted)];
      const share = (x - data.x[0]) / (data.x[1] - data.x[0]);
      const at = data.box[0] + share * (data.box[1] - data.box[0]);
      cursor.setAttribute("x1", at);
      cursor.setAttribute("x2", at);
      cursor.classList.add("on");
      place.textContent = `${figure.dataset.label} ${short(x)}`;
    };
    const follow = (event) => {
      const box = drawing.getBoundingClientRect();
      const at = ((event.clientX - box.left) / box.width) * drawing.viewBox.baseVal.width;
      const share = (at - data.box[0]) / (data.box[1] - data.box[0]);
      show(data.x[0] + Math.min(Math.max(share, 0), 1) * (data.x[1] - data.x[0]));
    };
    drawing.addEventListener("pointermove", follow);
    drawing.addEventListener("pointerdown", follow);
    drawing.addEventListener("pointerleave", () => show(null));
    show(null);
  }
};
startCharts(document);
