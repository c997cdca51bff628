// The slider of a threshold: the numbers of each class at the confidence that it stands at.
"use strict";
const startExplorers = (root) => {
  for (const explorer of root.querySelectorAll(".explorer")) {
    const data = JSON.parse(explorer.querySelector(":scope > script").textContent);
    const slider = explorer.querySelector("input[type='range']");
    const shown = explorer.querySelector(".slider output");
    const rows = explorer.querySelectorAll("tbody tr");
    const drawing = explorer.querySelector("figure.chart svg[role='img']");
    const frame = JSON.parse(explorer.querySelector("figure.chart script").textContent);
    const first = drawing.querySelector(".cursor");
    const mark = first.cloneNode();
    mark.setAttribute("class", "mark threshold");
    first.before(mark);
    const start = Array.from(rows, (row) => Array.from(row.cells, (cell) => cell.textContent));

    const write = (row, values) => values.forEach((value, i) => { row.cells[2 + i].textContent = value.toFixed(3); });
    const draw = (confidence) => {
      const at = frame.box[0] + confidence * (frame.box[1] - frame.box[0]);
      mark.setAttribute("x1", at);
      mark.setAttribute("x2", at);
      shown.textContent = confidence.toFixed(3);
    };
    const move = () => {
      const confidence = Number(slider.value);
      const at = Math.round(confidence * (data.precision[0].length - 1));
      const sums = [0, 0, 0];
      data.precision.forEach((precisions, k) => {
        const precision = precisions[at] / 1000;
        const recall = data.recall[k][at] / 1000;
        const f1 = precision + recall > 0 ? (2 * precision * recall) / (precision + recall) : 0;
        const values = [precision, recall, f1];
        values.forEach((value, i) => { sums[i] += value; });
        write(rows[k + 1], values);
      });
      write(rows[0], sums.map((sum) => sum / data.precision.length));
      draw(confidence);
    };
    const reset = () => {
      slider.value = data.best;
      rows.forEach((row, r) => start[r].forEach((text, c) => { if (c >= 2) row.cells[c].textContent = text; }));
      draw(data.best);
    };
    slider.addEventListener("input", move);
    explorer.querySelector("button.reset").addEventListener("click", reset);
    reset();
  }
};
startExplorers(document);
