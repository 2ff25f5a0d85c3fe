// What a page draws: numbers, axes, and the picture of what the network does.
const run = JSON.parse(document.getElementById("run").textContent);
const picture = run.picture, frames = run.epochs.length, last = frames - 1;
const find = (selector) => document.querySelector(selector);
const slider = find("#slider"), play = find("#play"), now = find("#now");
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", null, "#f0e442"];  // Okabe and Ito
const AMOUNTS = ["#00224e", "#1a386f", "#434e6c", "#61656f", "#7d7c78", "#9b9476", "#bcae6c", "#dec958", "#fee838"];  // cividis
const DASHES = { training: [], validation: [6, 4] };
let theme = {}, frame = last, timer = null;

// Numbers, ticks, colours
function text(value) {
  if (value === null || value === undefined) return "not finite";
  const size = Math.abs(value);
  if (size && (size < 1e-3 || size >= 1e5)) return value.toExponential(1).replace(".0e", "e").replace("e+", "e");
  return String(Number(value.toPrecision(3)));
}
function ticks([low, high], log, most) {
  const found = [];
  if (log) {
    const from = Math.floor(Math.log10(low)), to = Math.ceil(Math.log10(high));
    const every = Math.ceil((to - from) / most), steps = 3 * (to - from) > 2 * most ? [1] : [1, 2, 5];
    for (let power = from; power <= to; power += every) for (const m of steps) found.push(m * 10 ** power);
  } else {
    let step = 10 ** Math.floor(Math.log10((high - low) / most));
    step *= [1, 2, 5, 10].find((m) => (high - low) / (m * step) <= most);
    for (let i = Math.ceil(low / step); i * step <= high; i++) found.push(i * step);
  }
  return log ? found.filter((value) => value >= 0.999 * low && value <= 1.001 * high) : found;
}
function parts(hex) { return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)); }
function mix(one, other, share) { return one.map((value, i) => Math.round(value + (other[i] - value) * share)); }
function along(stops, share) {
  const place = Math.max(0, Math.min(0.9999, share)) * (stops.length - 1), i = Math.floor(place);
  return mix(parts(stops[i]), parts(stops[i + 1]), place - i);
}
function css([r, g, b]) { return `rgb(${r},${g},${b})`; }
function own(kind) { return COLOURS[kind % 8] || theme.ink; }
function signed(share) { return along([theme.negative, theme.card, theme.positive], (1 + share) / 2); }
function readTheme() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["card", "ink", "soft", "line", "training", "validation", "bar", "negative", "positive", "rim"])
    theme[name] = style.getPropertyValue(`--${name}`).trim();
}
function bytes(base64) { return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)); }

// Canvases, in CSS pixels
function begin(canvas) {
  const { width, height } = canvas.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const ctx = canvas.getContext("2d");
  ctx.scale(ratio, ratio);
  ctx.font = "12px system-ui, sans-serif";
  ctx.textBaseline = "middle";
  return { ctx, width, height };
}
function write(ctx, words, x, y, align = "left", colour = theme.soft) {
  ctx.textAlign = align;
  ctx.fillStyle = colour;
  ctx.fillText(words, x, y);
}
function shorten(ctx, words, room) {
  let cut = words;
  for (let kept = words.length - 1; kept > 1 && ctx.measureText(cut).width > room; kept--) {
    const head = Math.ceil(0.6 * kept);  // numbers tell layers apart, and they stand in front
    cut = `${words.slice(0, head)}…${words.slice(words.length - kept + head)}`;
  }
  return cut;
}
function axes(ctx, box, x, y) {
  const across = scale(x, box.left, box.right), up = scale(y, box.bottom, box.top);
  ctx.strokeStyle = theme.line;
  ctx.lineWidth = 1;
  ctx.beginPath();
  for (const value of ticks(y.limits, y.log, 5)) {
    if (!y.bare) { ctx.moveTo(box.left, up(value)); ctx.lineTo(box.right, up(value)); }
    write(ctx, text(value), box.left - 6, up(value), "right");
  }
  ctx.rect(box.left, box.top, box.right - box.left, box.bottom - box.top);
  ctx.stroke();
  for (const value of ticks(x.limits, x.log, x.whole ? Math.min(6, x.limits[1]) : 6)) {
    const inside = ctx.canvas.clientWidth - ctx.measureText(text(value)).width / 2;  // the last one is not cut off
    write(ctx, text(value), Math.min(across(value), inside), box.bottom + 11, "center");
  }
  write(ctx, x.label, (box.left + box.right) / 2, box.bottom + 27, "center");
  if (y.label) {
    ctx.save();
    ctx.translate(box.left - 40, (box.top + box.bottom) / 2);
    ctx.rotate(-Math.PI / 2);
    write(ctx, y.label, 0, 0, "center");
    ctx.restore();
  }
  return [across, up];
}
function scale({ limits: [low, high], log }, from, to) {
  const f = log ? Math.log10 : (value) => value;
  return (value) => from + (to - from) * (f(value) - f(low)) / (f(high) - f(low) || 1);
}
function curve(ctx, xs, ys, across, up) {
  ctx.beginPath();
  let drawing = false;
  ys.forEach((y, i) => {
    if (y === null || xs[i] === undefined) { drawing = false; return; }
    const alone = !drawing && (ys[i + 1] === null || i + 1 >= ys.length);
    if (alone) { ctx.moveTo(across(xs[i]) - 1.5, up(y)); ctx.lineTo(across(xs[i]) + 1.5, up(y)); }
    ctx[drawing ? "lineTo" : "moveTo"](across(xs[i]), up(y));
    drawing = true;
  });
  ctx.stroke();
}
function marker(ctx, kind, x, y, size) {
  ctx.beginPath();
  if (kind === 0) ctx.arc(x, y, size, 0, 7);
  else if (kind === 1) ctx.rect(x - size * 0.9, y - size * 0.9, size * 1.8, size * 1.8);
  else {
    const corners = [0, 0, 3, 4, 3, 5, 6, 10][kind], turn = kind === 4 ? Math.PI / 2 : -Math.PI / 2;
    for (let i = 0; i < corners; i++) {
      const angle = turn + (2 * Math.PI * i) / corners, far = (kind === 7 && i % 2 ? 0.6 : 1.3) * size;
      ctx[i ? "lineTo" : "moveTo"](x + far * Math.cos(angle), y + far * Math.sin(angle));
    }
    ctx.closePath();
  }
  ctx.fill();
  ctx.stroke();
}
function image(cells, rows, columns, palette) {
  const small = document.createElement("canvas");
  small.width = columns;
  small.height = rows;
  const ctx = small.getContext("2d"), pixels = ctx.createImageData(columns, rows);
  cells.forEach((cell, i) => pixels.data.set([...palette[cell], 255], 4 * i));
  ctx.putImageData(pixels, 0, 0);
  return small;
}
function colourBar(ctx, box, limits, colour) {  // upright, to the right of a picture
  const height = box.bottom - box.top;
  for (let i = 0; i < height; i++) {
    ctx.fillStyle = css(colour(1 - i / height));
    ctx.fillRect(box.right + 10, box.top + i, 12, 1.5);
  }
  const up = scale({ limits }, box.bottom, box.top);
  for (const value of ticks(limits, false, 6)) write(ctx, text(value), box.right + 27, up(value));
}

// What the network does
const draws = {
  map(ctx, width, height) {
    const classes = picture.classes.length, places = [];
    let x = 58, y = 12;
    for (const name of picture.classes) {  // the legend takes as many rows as it needs
      const wide = ctx.measureText(name).width + 30;
      if (x > 58 && x + wide > width + 12) [x, y] = [58, y + 18];
      places.push([x, y]);
      x += wide;
    }
    const box = { left: 52, right: width - (classes ? 8 : 68), top: classes ? y + 16 : 6, bottom: height - 40 };
    const palette = Array.from({ length: 256 }, (_, cell) => {
      if (!classes) return along(AMOUNTS, cell / 255);
      const kind = Math.floor(cell / picture.levels), share = (cell % picture.levels) / (picture.levels - 1);
      return mix(parts(theme.card), parts(own(kind)), 0.1 + 0.5 * share);
    });
    const small = image(bytes(picture.cells[frame]), picture.rows, picture.columns, palette);
    ctx.save();
    ctx.translate(0, box.top + box.bottom);
    ctx.scale(1, -1);  // the first row is the lowest
    ctx.drawImage(small, box.left, box.top, box.right - box.left, box.bottom - box.top);
    ctx.restore();
    const [across, up] = axes(ctx, box, { limits: picture.xlim, label: "first input" },
      { limits: picture.ylim, label: "second input", bare: true });
    const wide = picture.span[1] - picture.span[0] || 1;
    const dot = (x, y, target) => {
      const known = target !== null && target !== undefined;
      ctx.fillStyle = classes ? own(target)
        : known ? css(along(AMOUNTS, (target - picture.span[0]) / wide)) : theme.card;
      ctx.strokeStyle = classes ? theme.rim : theme.ink;
      marker(ctx, classes ? target % 8 : 0, x, y, 3.6);
    };
    picture.points.forEach(([x, y], i) => dot(across(x), up(y), picture.targets && picture.targets[i]));
    places.forEach(([left, top], i) => {
      dot(left, top, i);
      write(ctx, picture.classes[i], left + 10, top);
    });
    if (!classes) colourBar(ctx, box, picture.span, (share) => along(AMOUNTS, share));
  },
  function(ctx, width, height) {
    const box = { left: 52, right: width - 8, top: 28, bottom: height - 40 };
    const [across, up] = axes(ctx, box, { limits: picture.xlim, label: "input" },
      { limits: picture.ylim, label: "output" });
    const hollow = (x, y) => {
      ctx.strokeStyle = theme.validation;
      ctx.fillStyle = "transparent";
      ctx.lineWidth = 1.5;
      marker(ctx, 0, x, y, 3.5);
    };
    hollow(box.left + 6, 12);
    write(ctx, "data", box.left + 16, 12);
    ctx.strokeStyle = theme.training;
    ctx.lineWidth = 2.5;
    curve(ctx, [box.left + 62, box.left + 86], [12, 12], (x) => x, (y) => y);
    write(ctx, "network", box.left + 92, 12);
    ctx.save();
    ctx.beginPath();
    ctx.rect(box.left, box.top, box.right - box.left, box.bottom - box.top);
    ctx.clip();
    for (const [x, y] of picture.points) hollow(across(x), up(y));
    ctx.strokeStyle = theme.training;
    ctx.lineWidth = 2.5;
    curve(ctx, picture.x, picture.ys[frame], across, up);
    ctx.restore();
  },
  tiles(ctx, width, height) {  // as many in a row as make them largest
    const { rows, columns, count } = picture, box = { left: 0, right: width - 64, top: 0, bottom: height };
    const room = [box.right - box.left, box.bottom - box.top];
    let across = 1, size = 0;
    for (let n = 1; n <= count; n++) {
      const fits = Math.min(room[0] / n / columns, room[1] / Math.ceil(count / n) / rows);
      if (fits > size) [across, size] = [n, fits];
    }
    const palette = Array.from({ length: 256 }, (_, cell) => signed((cell - 128) / 127));
    const cells = bytes(picture.cells[frame]), each = rows * columns;
    ctx.imageSmoothingEnabled = false;
    ctx.strokeStyle = theme.line;
    for (let i = 0; i < count; i++) {
      const small = image(cells.subarray(i * each, (i + 1) * each), rows, columns, palette);
      const x = (i % across) * columns * size, y = Math.floor(i / across) * rows * size;
      ctx.drawImage(small, x + 2, y + 2, columns * size - 4, rows * size - 4);
      ctx.strokeRect(x + 2, y + 2, columns * size - 4, rows * size - 4);
    }
    const used = across * columns * size, tall = Math.min(height, Math.ceil(count / across) * rows * size);
    colourBar(ctx, { right: used - 2, top: 8, bottom: tall - 8 }, [-picture.scale, picture.scale],
      (share) => signed(2 * share - 1));
  },
  histograms(ctx, width) {
    const cells = bytes(picture.cells[frame]), bins = picture.bins;
    picture.paths.forEach((path, i) => {
      const top = 62 * i + 18, [low, high] = picture.spans[i];
      write(ctx, shorten(ctx, path, width - 4), 0, top - 9, "left", theme.ink);
      ctx.fillStyle = theme.bar;
      for (let bin = 0; bin < bins; bin++) {
        const tall = (26 * cells[i * bins + bin]) / 255;
        ctx.fillRect((bin * width) / bins + 0.5, top + 26 - tall, width / bins - 1, tall);
      }
      ctx.fillStyle = theme.line;
      ctx.fillRect(0, top + 26, width, 1);
      write(ctx, text(low), 0, top + 35);
      write(ctx, text(high), width, top + 35, "right");
    });
  },
};
