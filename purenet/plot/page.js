// Curves of the history: bright until now, pale after
function drawChart(canvas, chart) {
  const { ctx, width, height } = begin(canvas);
  const box = { left: 52, right: width - 10, top: 28, bottom: height - 36 };
  const epoch = run.epochs[frame], xs = run.history.epochs, end = Math.max(run.epochs[last], xs[xs.length - 1]);
  const [across, up] = axes(ctx, box, { limits: [0, end], label: "epoch", whole: true }, { limits: chart.limits, log: chart.log });
  let x = box.left, said = [];
  for (const [name, line] of Object.entries(chart.lines)) {
    const until = xs.filter((at) => at <= epoch).length;
    const label = chart.name === "learning_rate" ? "in force" : name;
    const words = until ? `${label} ${text(line[until - 1])}` : label;
    ctx.strokeStyle = theme[name];
    ctx.lineWidth = 2;
    ctx.setLineDash(DASHES[name]);
    curve(ctx, [x, x + 24], [12, 12], (value) => value, (value) => value);
    ctx.globalAlpha = 0.28;
    curve(ctx, xs, line, across, up);
    ctx.globalAlpha = 1;
    ctx.lineWidth = 2.5;
    curve(ctx, xs, line.slice(0, until), across, up);
    ctx.setLineDash([]);
    if (until && line[until - 1] !== null) {
      ctx.fillStyle = theme[name];
      ctx.strokeStyle = theme.card;
      marker(ctx, name === "training" ? 0 : 1, across(xs[until - 1]), up(line[until - 1]), 4);
    }
    write(ctx, words, x + 30, 12);
    x += 150;
    said.push(words);
  }
  ctx.strokeStyle = theme.soft;
  ctx.lineWidth = 1;
  ctx.beginPath();
  ctx.moveTo(across(epoch), box.top);
  ctx.lineTo(across(epoch), box.bottom);
  ctx.stroke();
  canvas.setAttribute("aria-label", `${chart.name} at epoch ${epoch}: ${said.join(", ")}`);
}

function drawLayers(canvas) {
  const { ctx, width } = begin(canvas), { paths, gradients, weights, decades } = run.layers;
  const label = Math.min(190, width * 0.33), end = width - 66;
  const limits = decades.map((power) => 10 ** power);
  const across = scale({ limits, log: true }, label + 8, end - 58), bottom = 26 * paths.length + 24;
  write(ctx, "layer", 0, 9);
  write(ctx, "‖gradient‖", label + 8, 9);
  write(ctx, "‖weights‖", width, 9, "right");
  for (const value of ticks(limits, true, Math.max(2, Math.floor((end - 58 - label) / 44)))) {
    ctx.fillStyle = theme.line;
    ctx.fillRect(across(value), 22, 1, bottom - 22);
    write(ctx, text(value), across(value), bottom + 10, "center");
  }
  paths.forEach((path, i) => {
    const y = 26 * i + 36, size = gradients[frame][i];
    write(ctx, shorten(ctx, path, label), 0, y, "left", theme.ink);
    ctx.fillStyle = theme.bar;
    if (size) ctx.fillRect(label + 8, y - 8, Math.max(1, across(size) - label - 8), 16);
    write(ctx, text(size), end - 6, y, "right", theme.ink);
    write(ctx, text(weights[frame][i]), width, y, "right");
  });
  canvas.setAttribute("aria-label", "Norms of the gradients: " +
    paths.map((path, i) => `${path} ${text(gradients[frame][i])}`).join(", "));
}

// The page
function draw() {
  const epoch = run.epochs[frame], canvas = find("#picture canvas");
  slider.value = frame;
  now.textContent = `epoch ${epoch} of ${run.epochs[last]}`;
  slider.setAttribute("aria-valuetext", now.textContent);
  const { ctx, width, height } = begin(canvas);
  draws[picture.kind](ctx, width, height);
  canvas.setAttribute("aria-label", `${picture.heading}, at epoch ${epoch}`);
  document.querySelectorAll("#charts canvas").forEach((one, i) => drawChart(one, run.history.charts[i]));
  if (run.layers.paths.length) drawLayers(find("#layers canvas"));
  find("#layers figcaption").textContent = `The loss here is ${text(run.layers.losses[frame])}. ${run.layers.caption}`;
}
function show(number) {
  const next = Math.max(0, Math.min(last, number));
  if (next !== frame) { frame = next; draw(); }
}
function setPlaying(wanted) {
  clearInterval(timer);
  timer = null;
  if (wanted && last) {
    if (frame === last) show(0);
    timer = setInterval(() => (frame < last ? show(frame + 1) : setPlaying(false)), run.pause);
  }
  play.setAttribute("aria-pressed", String(timer !== null));
  play.setAttribute("aria-label", timer === null ? "Play" : "Pause");
}
function tilesAspect() {
  const { rows, columns, count } = picture, across = Math.ceil(Math.sqrt((count * rows) / columns));
  return `${1.13 * across * columns} / ${Math.ceil(count / across) * rows}`;
}
function build() {
  find("#picture h2").textContent = picture.heading;
  find("#picture figcaption").textContent = picture.caption;
  const canvas = find("#picture canvas");
  if (picture.kind === "histograms") canvas.style.height = `${62 * picture.paths.length + 6}px`;
  else canvas.style.aspectRatio = { map: "1", function: "4 / 3", tiles: tilesAspect() }[picture.kind];
  find("#layers canvas").style.height = `${26 * run.layers.paths.length + 46}px`;
  find("#layers").hidden = !run.layers.paths.length;
  for (const chart of run.history.charts) {
    const figure = document.createElement("figure"), head = document.createElement("h2");
    const drawing = document.createElement("canvas");
    head.textContent = chart.name.replaceAll("_", " ");
    drawing.setAttribute("role", "img");
    drawing.style.height = run.history.charts.length > 2 ? "180px" : "210px";
    figure.append(head, drawing);
    find("#charts").append(figure);
  }
  for (const note of run.notes) {
    const item = document.createElement("li");
    item.textContent = note;
    find("#notes").append(item);
  }
  slider.max = last;
  slider.disabled = play.disabled = !last;
}
slider.addEventListener("input", () => { setPlaying(false); show(Number(slider.value)); });
play.addEventListener("click", () => setPlaying(timer === null));
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const moves = { ArrowLeft: frame - 1, ArrowRight: frame + 1, Home: 0, End: last };
  if (event.key in moves && event.target !== slider) { setPlaying(false); show(moves[event.key]); }
  else if (event.key === " " && event.target !== play) setPlaying(timer === null);
  else return;
  event.preventDefault();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readTheme(); draw(); });
readTheme();
build();
draw();
new ResizeObserver(draw).observe(find("#picture"));
