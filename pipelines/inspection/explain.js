"use strict";
// Without this the page is read from top to bottom. With it, one operation is shown at a time. The script displays the
// numbers of the step, which the page holds, and multiplies; it trains nothing.

const DATA = JSON.parse(document.getElementById("data").textContent);
const { layers, groups, moments, classes } = DATA;
const operations = 2 * layers.length + 5;
const one = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// ---- numbers -------------------------------------------------------------------------------------------------------

for (const moment of moments) {
  for (const [name, packed] of Object.entries(moment.arrays)) {
    const bytes = Uint8Array.from(atob(packed.data), (letter) => letter.charCodeAt(0));
    const values = new (packed.type === "f8" ? Float64Array : Float32Array)(bytes.buffer);
    moment.arrays[name] = { values, width: packed.shape.length > 1 ? packed.shape[1] : 1, rank: packed.shape.length };
  }
}

const MINUS = "\u2212";
const figure = (value) => {
  if (!Number.isFinite(value)) return String(value).replace("Infinity", "inf").replace("NaN", "nan").replace("-", MINUS);
  if (value === 0) return "0";
  const [digits, power] = Math.abs(value).toExponential(3).split("e");
  const exponent = Number(power);
  const plain = exponent >= -3 && exponent < 5;
  let words = plain ? Number(`${digits}e${power}`).toFixed(Math.max(0, 3 - exponent)) : digits;
  if (words.includes(".")) words = words.replace(/0+$/, "").replace(/\.$/, "");
  return (value < 0 ? MINUS : "") + words + (plain ? "" : `e${exponent}`);
};

const state = { moment: 0, op: 1, example: 0, group: 1, unit: 0, weight: null };
const remembered = groups.map((group) => group.strongest); // the unit of each group that was chosen last
// The unit that is shown of a group: the address names one, and the others show their strongest.
const unitOf = (group) => (group === state.group ? remembered[group] : groups[group].strongest);
const dense = groups.map((group) => group.dense);
const choosable = groups.map((group, index) => index).filter((index) => dense[index] !== null);

const arrays = () => moments[state.moment].arrays;
const at = (name, ...place) => {
  const array = arrays()[name];
  const value = array.values[array.rank > 1 ? place[0] * array.width + place[1] : place[0]];
  return { value, of: `${name}[${place.join(",")}]` };
};
const row = (name) => {
  const { values, width } = arrays()[name];
  return values.subarray(state.example * width, (state.example + 1) * width);
};
// A unit's number of a layer. Of a layer that makes images the page holds the channels drawn.
const spot = (letter, layer, unit) => {
  const { maps } = layers[layer];
  const place = maps ? Math.floor(unit / maps.shape[2]) * maps.channels.length + maps.channels.indexOf(unit % maps.shape[2]) : unit;
  return at(`${letter}${layer}`, state.example, place);
};
const inputName = (layer) => (layer ? `y${layer - 1}` : "x");
const into = (layer, unit) => (layer ? spot("y", layer - 1, unit) : at("x", state.example, unit));
const columnOf = (group) => groups[group].units.indexOf(unitOf(group));
const unitColumn = (name, group) => {
  const { values, width } = arrays()[name];
  return Float64Array.from({ length: values.length / width }, (_, i) => values[i * width + columnOf(group)]);
};

// The weight that is followed: the chosen one, or else the one with the largest input times gradient.
const weightOf = (layer) => {
  const group = layers[layer].group, inputs = row(inputName(layer));
  if (state.weight !== null && group === state.group) return Math.min(state.weight, inputs.length - 1);
  const gradient = unitColumn(`G${layer}`, group);
  let best = 0, largest = -1;
  inputs.forEach((input, i) => {
    const size = Math.abs(input * gradient[i]);
    if (size > largest) [best, largest] = [i, size];
  });
  return best;
};

const number = (name, layer) => {
  const group = layers[layer].group, unit = unitOf(group);
  switch (name) {
    case "x": return into(layer, unit);
    case "y": return spot("y", layer, unit);
    case "dy": return spot("d", layer, unit);
    case "slope": return spot("s", layer, unit);
    case "dx": return spot("d", layer - 1, unitOf(layers[layer - 1].group));
    case "bias": return at(`b${layer}`, unit);
    case "bias_gradient": return at(`gb${layer}`, unit);
    case "x_i": return into(layer, weightOf(layer));
    case "w": return at(`W${layer}`, weightOf(layer), columnOf(group));
    case "gradient": return at(`G${layer}`, weightOf(layer), columnOf(group));
    case "after": return at(`A${layer}`, weightOf(layer), columnOf(group));
    case "share": return { value: number("x_i", layer).value * number("dy", layer).value };
    case "others": return { value: number("gradient", layer).value - number("share", layer).value };
    case "step": return { value: number("after", layer).value - number("w", layer).value };
  }
  throw new Error(name);
};

const target = () => {
  if (!arrays().t) return 0;
  const targets = row("t");
  return targets.indexOf(Math.max(...targets));
};

const outcome = (name) => {
  const last = layers.length - 1;
  switch (name) {
    case "loss": return at("l", state.example);
    case "weight": return at("r", state.example);
    case "exp_sum": return { value: row(`y${last}`).reduce((sum, z) => sum + Math.exp(z), 0) };
    case "rate": return { value: moments[state.moment].rate || 0, of: "rate" };
    case "z": return at(`y${last}`, state.example, target());
    case "dz": return at(`d${last}`, state.example, target());
  }
  return at(name, state.example, target());
};

const factor = (kind, layer, of) => {
  if (kind === "x_i") return number("x_i", of);
  const unit = unitOf(layers[of].group);
  return kind === "slope" ? spot("s", layer, unit) : spot("d", layer - 1, unit);
};

const factors = (layer) => {
  const found = [["x_i", layer]];
  for (let next = layer + 1; next < layers.length; next += 1) {
    if (!layers[next].slope) return [...found, [layers[next].dense ? "deltas" : "back", next]];
    found.push(["slope", next]);
  }
  return [...found, ["loss", layers.length]];
};

const pictures = (layer) => {
  const group = layers[layer].group, delta = number("dy", layer).value;
  const before = unitColumn(`W${layer}`, group), after = unitColumn(`A${layer}`, group);
  return {
    w: before, after,
    gradient: unitColumn(`G${layer}`, group),
    share: Float64Array.from(row(inputName(layer)), (input) => input * delta),
    step: after.map((value, i) => value - before[i]),
  };
};

const largest = (values) => values.reduce((most, value) => (Number.isFinite(value) ? Math.max(most, Math.abs(value)) : most), 0);

const find = (words) => {
  const [kind, ...rest] = words.split(":");
  const layer = (word) => (word === "*" ? dense[state.group] : Number(word));
  if (kind === "number") return number(rest[0], layer(rest[1]));
  if (kind === "outcome") return outcome(rest[0]);
  if (kind === "at") return at(rest[0], state.example, Number(rest[1]));
  if (kind === "factor") return factor(rest[0], Number(rest[1]), Number(rest[2]));
  if (kind === "largest") return { value: largest(pictures(Number(rest[1]))[rest[0]]) };
  return { value: factors(Number(rest[0])).reduce((product, [name, of]) => product * factor(name, of, Number(rest[0])).value, 1) };
};

const show = (place, found) => {
  place.value = String(found.value);
  place.title = String(found.value);
  const words = figure(found.value);
  place.textContent = place.dataset.signed !== undefined && found.value < 0 ? `(${words})` : words;
  if (found.of) place.dataset.of = found.of;
};

const TERMS = 3;
const showTerms = (place) => {
  const [name, word] = place.dataset.terms.split(":"), layer = Number(word), group = layers[layer].group;
  const inputs = name === "inputs", length = inputs ? row(inputName(layer)).length : row(`d${layer}`).length;
  const pairs = Array.from({ length }, (_, k) => (inputs
    ? [into(layer, k), at(`W${layer}`, k, columnOf(group))]
    : [at(`O${layer}`, columnOf(group - 1), k), at(`d${layer}`, state.example, k)]));
  const products = pairs.map(([left, right]) => left.value * right.value);
  const order = products.map((_, k) => k).sort((i, j) => Math.abs(products[j]) - Math.abs(products[i]) || i - j);
  const kept = order.slice(0, TERMS).sort((i, j) => i - j);
  place.replaceChildren();
  const add = (found, signed) => {
    const data = document.createElement("data");
    if (signed) data.dataset.signed = "";
    show(data, found);
    place.append(data);
  };
  kept.forEach((k, index) => {
    place.append(index ? " + " : "");
    add(pairs[k][0], index > 0);
    place.append(" \u00d7 ");
    add(pairs[k][1]);
  });
  if (length > kept.length) {
    place.append(" + ");
    add({ value: products.reduce((sum, product, k) => (kept.includes(k) ? sum : sum + product), 0) }, true);
    place.append(` (${(length - kept.length).toLocaleString("en")} more)`);
  }
};

// ---- pictures ------------------------------------------------------------------------------------------------------

const ORANGE = [217, 84, 30], BLUE = [47, 127, 214];
const picture = (values, rows, columns, limit) => {
  const canvas = Object.assign(document.createElement("canvas"), { width: columns, height: rows });
  const pen = canvas.getContext("2d"), pixels = pen.createImageData(columns, rows);
  for (let i = 0; i < values.length; i += 1) {
    const value = Number.isFinite(values[i]) ? values[i] : 0;
    pixels.data.set(value < 0 ? ORANGE : BLUE, 4 * i);
    pixels.data[4 * i + 3] = limit ? Math.round(255 * Math.min(Math.abs(value) / limit, 1)) : 0;
  }
  pen.putImageData(pixels, 0, 0);
  return canvas.toDataURL();
};
const grey = (values, [rows, columns]) => {
  const finite = [...values].map((value) => (Number.isFinite(value) ? value : 0));
  const low = Math.min(...finite), high = Math.max(...finite);
  const canvas = Object.assign(document.createElement("canvas"), { width: columns, height: rows });
  const pen = canvas.getContext("2d"), pixels = pen.createImageData(columns, rows);
  finite.forEach((value, i) => {
    const shade = high > low ? Math.round((255 * (value - low)) / (high - low)) : 0;
    pixels.data.set([shade, shade, shade, 255], 4 * i);
  });
  pen.putImageData(pixels, 0, 0);
  return canvas.toDataURL();
};
// Rows and columns of a picture, whatever size it is shown at.
const sides = (image) => [Number(image.getAttribute("height")), Number(image.getAttribute("width"))];
const paint = (element, value, limit, property) => {
  const strength = Number.isFinite(value) && limit > 0 ? Math.min(Math.abs(value) / limit, 1) : 0;
  element.classList.toggle("below", value < 0);
  element.classList.toggle("above", !(value < 0));
  element.setAttribute(property, strength.toFixed(2));
  return strength;
};

// ---- the drawing ---------------------------------------------------------------------------------------------------

// Operation 1 is the input; then come the layers and the loss, the loss and the layers backwards, the update, and last
// the batch once more.
const passOf = (op) => (op <= layers.length + 2 ? "forward" : op <= operations - 2 ? "backward" : op === operations - 1 ? "update" : "after");
const columnAt = (op) => ({ forward: op - 1, backward: operations - 2 - op + 1, update: -1, after: layers.length + 1 })[passOf(op)];
const known = (column) => state.op >= column + 1; // whether the way forward has come there
const came = (layer) => state.op >= operations - 2 - layer; // whether the layer has sent its gradient back
const reached = (layer) => layer === layers.length - 1 ? state.op >= layers.length + 3 : came(layer + 1); // whether its delta is known

const drawEdges = (group) => {
  const layer = Number(group.dataset.layer), last = layer >= layers.length;
  const weighted = !last && layers[layer].dense, back = last ? state.op >= layers.length + 3 : came(layer);
  group.classList.toggle("waiting", !known(layer + 1));
  const lit = columnAt(state.op) === layer + 1 || (state.op === operations - 1 && weighted);
  group.classList.toggle("lit", lit);
  group.classList.toggle("backward", passOf(state.op) === "backward");
  if (group.classList.contains("plain")) return;
  const lines = all("line", group);
  const chosen = layers[layer]?.group === state.group;
  let values;
  if (weighted) {
    const units = groups[layers[layer].group].units, { values: w, width } = arrays()[`W${layer}`];
    const inputs = row(inputName(layer)), deltas = row(`d${layer}`);
    values = lines.map((line) => {
      const i = Number(line.dataset.i), j = Number(line.dataset.j);
      if (i < 0) return back ? deltas[j] : row(`y${layer}`)[j];
      return back ? inputs[i] * deltas[j] : w[i * width + units.indexOf(j)];
    });
  } else {
    // Nothing goes back from the first layer.
    const numbers = back ? layer && row(`d${layer - 1}`) : row(inputName(layer));
    values = lines.map((line) => (known(layer + 1) && numbers ? numbers[Number(line.dataset.j)] : 0));
  }
  const limit = largest(values);
  lines.forEach((line, k) => {
    const strength = paint(line, values[k], limit, "stroke-opacity");
    line.setAttribute("stroke-opacity", (0.12 + 0.88 * strength).toFixed(2));
    line.setAttribute("stroke-width", (0.4 + 2.6 * strength).toFixed(2));
    line.classList.toggle("chosen", chosen && Number(line.dataset.j) === remembered[state.group]);
  });
};

const drawColumn = (svg, column) => {
  const layer = column - 1, group = layer < 0 ? 0 : layers[layer].group;
  const values = layer < 0 ? row("x") : row(`y${layer}`), deltas = layer < 0 ? null : row(`d${layer}`);
  const high = largest(values), steep = deltas ? largest(deltas) : 0;
  for (const unit of all(`.unit[data-column="${column}"]`, svg)) {
    const index = Number(unit.dataset.unit);
    paint(one(".fill", unit), known(column) ? values[index] : 0, high, "fill-opacity");
    const ring = one(".ring", unit);
    if (ring) paint(ring, reached(layer) ? deltas[index] : 0, steep, "stroke-opacity");
    unit.classList.toggle("waiting", !known(column));
    unit.classList.toggle("chosen", group === state.group && index === remembered[group]);
    const label = one(".value", unit);
    if (label) {
      label.textContent = (known(column) ? figure(values[index]) : "") + (deltas && reached(layer) ? `, \u03b4 ${figure(deltas[index])}` : "");
    }
    one("title", unit).textContent = `unit ${index + 1}: ${known(column) ? figure(values[index]) : "not yet"}`
      + (deltas && reached(layer) ? `, delta ${figure(deltas[index])}` : "");
  }
  const shown = layer >= 0 && reached(layer) && passOf(state.op) !== "forward" ? deltas : values;
  for (const image of all(`.map[data-column="${column}"]`, svg)) {
    const { shape: [height, width], channels } = layers[layer].maps, index = Number(image.dataset.map);
    const pixels = Float64Array.from({ length: height * width }, (_, pixel) => shown[pixel * channels.length + index]);
    image.setAttribute("href", picture(known(column) ? pixels : [], height, width, largest(shown)));
    image.classList.toggle("waiting", !known(column));
  }
  const strip = one(`.strip[data-strip="${column}"]`, svg);
  if (!strip) return;
  strip.setAttribute("href", picture(known(column) ? shown : [], 1, shown.length, largest(shown)));
};

const drawWeights = (svg) => {
  const layer = dense[1];
  if (DATA.image === null || layer === null) return;
  const back = came(layer), update = state.op === operations - 1;
  for (const image of all("[data-weights]", svg)) {
    const unit = Number(image.dataset.weights), { units } = groups[1];
    const { values: w, width } = arrays()[`W${layer}`], after = arrays()[`A${layer}`].values;
    const delta = row(`d${layer}`)[unit], inputs = row(inputName(layer)), column = units.indexOf(unit);
    const numbers = Float64Array.from(inputs, (input, i) => {
      const place = i * width + column;
      if (state.op === operations) return after[place];
      return update ? after[place] - w[place] : back ? input * delta : w[place];
    });
    image.setAttribute("href", picture(numbers, ...DATA.image, largest(numbers)));
    image.classList.toggle("waiting", !known(1));
  }
};

const drawOutcome = (svg) => {
  const there = known(layers.length + 1), outputs = row(`y${layers.length - 1}`), chances = arrays().p ? row("p") : null;
  one(".outcome", svg).classList.toggle("waiting", !there);
  for (const bar of all("[data-bar]", svg)) {
    const chance = chances[Number(bar.dataset.bar)];
    bar.setAttribute("width", there && Number.isFinite(chance) ? (chance * Number(bar.dataset.full)).toFixed(1) : "0");
  }
  for (const word of all("[data-output]", svg)) {
    const unit = Number(word.dataset.output), name = classes.length === outputs.length ? classes[unit] : `output ${unit + 1}`;
    const aim = arrays().t && outputs.length > 1 && unit === target();
    const value = there ? ` ${figure((chances || outputs)[unit])}` : "";
    word.textContent = svg.classList.contains("wide") ? `${name}${value}` : name.slice(0, 10);
    word.classList.toggle("aim", Boolean(aim));
  }
  one("[data-loss]", svg).textContent = there ? `loss ${figure(outcome("loss").value)}` : "loss";
};

const draw = () => {
  const lit = columnAt(state.op);
  for (const svg of all(".network")) {
    for (const band of all(".band", svg)) {
      const column = Number(band.dataset.column);
      band.classList.toggle("lit", lit === column || (state.op === operations - 1 && column > 0 && column <= layers.length && layers[column - 1].dense));
    }
    for (const words of all("[data-heading], [data-foot]", svg)) {
      words.classList.toggle("lit", Number(words.dataset.heading ?? words.dataset.foot) === lit);
    }
    for (const image of all("[data-input]", svg)) image.setAttribute("href", grey(row("x"), DATA.image));
    all(".edges", svg).forEach(drawEdges);
    for (let column = 0; column <= layers.length; column += 1) drawColumn(svg, column);
    drawWeights(svg);
    drawOutcome(svg);
  }
};

// ---- words ---------------------------------------------------------------------------------------------------------

const source = (layer) => {
  const weight = weightOf(layer);
  if (layers[layer].group === 1 && DATA.image) return `the pixel in row ${Math.floor(weight / DATA.image[1]) + 1}, column ${(weight % DATA.image[1]) + 1}`;
  return layers[layer].group === 1 ? `input ${weight + 1}` : `unit ${weight + 1} of the layer before`;
};
const outputName = (unit) => {
  const { width } = groups[groups.length - 1];
  if (width === 1) return arrays().t ? figure(row("t")[0]) : "";
  return classes.length === width ? classes[unit] : `output ${unit + 1}`;
};
const say = (place) => {
  switch (place.dataset.say) {
    case "unit": return String(unitOf(Number(place.dataset.group)) + 1);
    case "pixel": {
      const layer = layers[Number(place.dataset.layer)], [, width, channels] = layer.maps.shape;
      const unit = unitOf(layer.group), at = Math.floor(unit / channels);
      return `channel ${(unit % channels) + 1}, row ${Math.floor(at / width) + 1}, column ${(at % width) + 1}`;
    }
    case "example": return String(state.example + 1);
    case "target": return outputName(target());
    case "source": return source(Number(place.dataset.layer));
    case "current-unit": return String(remembered[state.group] + 1);
    case "current-layer": return layers[dense[state.group]].name;
  }
  return source(dense[state.group]);
};

// Each moment has a batch of its own.
let pictured = null;
const pictureExamples = () => {
  pictured = state.moment;
  const { values, width } = arrays().x;
  all("#examples label").forEach((label, index) => {
    label.hidden = index >= count();
    const image = one("img", label);
    if (!image || label.hidden) return;
    const aims = arrays().t && arrays().t.values.subarray(index * arrays().t.width, (index + 1) * arrays().t.width);
    image.src = grey(values.subarray(index * width, (index + 1) * width), DATA.image);
    image.title = image.alt = `example ${index + 1}` + (aims ? `, ${outputName(aims.indexOf(Math.max(...aims)))}` : "");
  });
};

const refresh = (part) => {
  for (const place of all("[data-find]", part)) show(place, find(place.dataset.find));
  all("[data-terms]", part).forEach(showTerms);
  for (const place of all("[data-say]", part)) place.textContent = say(place);
  for (const image of all("[data-picture]", part)) {
    const layer = Number(part.dataset.layer), values = pictures(layer)[image.dataset.picture];
    const [rows, columns] = sides(image), weight = weightOf(layer), mark = image.nextElementSibling;
    image.src = picture(values, rows, columns, largest(values));
    mark.style.cssText = `left: ${(100 * (weight % columns)) / columns}%; top: ${(100 * Math.floor(weight / columns)) / rows}%; `
      + `width: ${100 / columns}%; height: ${100 / rows}%`;
  }
};

const write = () => {
  const section = document.getElementById(`operation-${state.op}`);
  for (const other of all(".operation")) other.hidden = other !== section;
  for (const block of all(".unit-block")) block.hidden = Number(block.dataset.group) !== state.group;
  for (const part of all("[data-moment]")) part.hidden = Number(part.dataset.moment) !== state.moment;
  all(".operation:not([hidden]), .unit-block:not([hidden])").forEach(refresh);
  if (one("#weight")) {
    const layer = dense[state.group];
    one("#weight").max = String(row(inputName(layer)).length);
    one("#weight").value = String(weightOf(layer) + 1);
    one("#unit").value = `${state.group}.${remembered[state.group] + 1}`;
  }
  if (pictured !== state.moment) pictureExamples();
  for (const name of ["moment", "example"]) {
    const box = one(`input[name="${name}"][value="${state[name]}"]`);
    if (box) box.checked = true;
  }
  const title = one("h2", section).textContent;
  one("#scrubber").value = String(state.op);
  one("#scrubber").setAttribute("aria-valuetext", `${state.op} of ${operations}: ${title}`);
  one("#place").textContent = `${state.op} / ${operations}: ${title}`;
  one("#previous").disabled = state.op === 1;
  one("#next").disabled = state.op === operations;
};

// ---- addresses -----------------------------------------------------------------------------------------------------

const address = () => {
  const parts = [`op=${state.op}`, `example=${state.example + 1}`, `unit=${state.group}.${remembered[state.group] + 1}`];
  if (state.weight !== null) parts.push(`weight=${state.weight + 1}`);
  if (moments.length > 1) parts.push(`at=${moments[state.moment].step}`);
  return `#${parts.join("&")}`;
};
// Nothing is decoded, so nothing behind the # can fail; what is not understood is left as it would be at the start.
const read = (hash) => {
  const whole = (name) => {
    const found = new RegExp(`(?:^#?|&)${name}=(\\d{1,9})(?=&|$)`).exec(hash);
    return found ? Number(found[1]) : null;
  };
  const op = whole("op"), example = whole("example"), weight = whole("weight"), step = whole("at");
  state.op = op === null ? 1 : clamp(op, 1, operations);
  state.example = example === null ? 0 : clamp(example, 1, DATA.examples) - 1;
  state.moment = Math.max(0, moments.findIndex((moment) => moment.step === step));
  const unit = /(?:^#?|&)unit=(\d{1,9})\.(\d{1,9})(?=&|$)/.exec(hash);
  state.weight = null;
  if (unit && choosable.includes(Number(unit[1])) && groups[Number(unit[1])].units.includes(Number(unit[2]) - 1)) {
    state.group = Number(unit[1]);
    remembered[state.group] = Number(unit[2]) - 1;
    const inputs = dense[state.group] === null ? 0 : row(inputName(dense[state.group])).length;
    if (weight !== null && inputs) state.weight = clamp(weight, 1, inputs) - 1;
  } else {
    groups.forEach((group, index) => { remembered[index] = group.strongest; });
    state.group = groupAt(state.op) ?? choosable[0] ?? 0;
  }
};

const groupAt = (op) => {
  const layer = columnAt(op) - 1;
  const group = layer >= 0 && layer < layers.length ? layers[layer].group : null;
  return choosable.includes(group) ? group : null;
};

const count = () => arrays().x.values.length / arrays().x.width;
const render = () => {
  state.example = Math.min(state.example, count() - 1);
  draw();
  write();
};
const go = (changes) => {
  Object.assign(state, changes);
  render();
  history.replaceState(null, "", address());
};
// Going on to another layer leads to the unit that was chosen there.
const turn = (op) => {
  const next = clamp(op, 1, operations), group = groupAt(next);
  if (next === state.op) return;
  go(group === null || group === state.group ? { op: next } : { op: next, group, weight: null });
};
const choose = (group, unit) => {
  if (!choosable.includes(group)) return;
  const changed = remembered[group] !== unit || group !== state.group;
  remembered[group] = unit;
  go(changed ? { group, weight: null } : { group });
};

// ---- controls ------------------------------------------------------------------------------------------------------

document.documentElement.classList.add("js");
for (const block of all(".unit-block")) one("#units").append(block);
if (!choosable.length) one("#units").remove();
for (const group of choosable) {
  const heading = document.createElement("optgroup");
  heading.label = layers[dense[group]].name;
  for (const unit of groups[group].units) heading.append(new Option(`${unit + 1} of ${heading.label}`, `${group}.${unit + 1}`));
  one("#unit").append(heading);
}

let playing = null;
const stop = () => {
  clearInterval(playing);
  playing = null;
  one("#play").textContent = "Play";
  one("#play").setAttribute("aria-pressed", "false");
};
const play = () => {
  if (playing !== null) return stop();
  if (state.op === operations) turn(1);
  playing = setInterval(() => {
    turn(state.op + 1);
    if (state.op === operations) stop();
  }, 1800);
  one("#play").textContent = "Pause";
  one("#play").setAttribute("aria-pressed", "true");
};

one("#previous").addEventListener("click", () => { stop(); turn(state.op - 1); });
one("#next").addEventListener("click", () => { stop(); turn(state.op + 1); });
one("#play").addEventListener("click", play);
one("#scrubber").addEventListener("input", (event) => { stop(); turn(Number(event.target.value)); });
document.addEventListener("change", (event) => {
  const box = event.target;
  if (box.name === "moment" || box.name === "example") go({ [box.name]: Number(box.value) });
  if (box.id === "unit") choose(...box.value.split(".").map((word, k) => Number(word) - k));
  if (box.id === "weight" && choosable.length) {
    go({ weight: box.value === "" ? null : clamp(Math.round(Number(box.value)) || 1, 1, Number(box.max)) - 1 });
  }
});
document.addEventListener("click", (event) => {
  const unit = event.target.closest?.("[data-unit][data-group]");
  if (unit) {
    const group = Number(unit.dataset.group);
    if (group) choose(group, Number(unit.dataset.unit));
    else if (choosable.includes(1)) go({ group: 1, weight: Number(unit.dataset.unit) });
  }
  const image = event.target.closest?.("[data-picture]");
  if (image) {
    const box = image.getBoundingClientRect(), [rows, columns] = sides(image);
    const column = clamp(Math.floor(((event.clientX - box.left) / box.width) * columns), 0, columns - 1);
    const line = clamp(Math.floor(((event.clientY - box.top) / box.height) * rows), 0, rows - 1);
    const weight = line * columns + column;
    if (weight < row(inputName(dense[state.group])).length) go({ weight });
  }
});

// Arrow keys belong to what has the focus, where it can use them: controls, and whatever scrolls.
const uses = (element, key) => {
  if (!element || element === document.body) return false;
  if (element.matches("input, select, textarea")) return true;
  if (key === " " || key === "Enter") return element.matches("button, summary, a");
  for (let box = element; box && box !== document.body; box = box.parentElement) {
    const style = getComputedStyle(box);
    if (/auto|scroll/.test(style.overflowX) && box.scrollWidth > box.clientWidth) return true;
  }
  return false;
};
document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || event.defaultPrevented) return;
  if (uses(document.activeElement, event.key)) return;
  const to = { ArrowRight: state.op + 1, PageDown: state.op + 1, ArrowLeft: state.op - 1, PageUp: state.op - 1, Home: 1, End: operations };
  if (event.key in to) { stop(); turn(to[event.key]); } else if (event.key === " ") play();
  else return;
  event.preventDefault();
});

let touched = null;
one("#drawing").addEventListener("touchstart", (event) => {
  const [finger] = event.touches;
  touched = event.touches.length === 1 ? [finger.clientX, finger.clientY] : null;
}, { passive: true });
one("#drawing").addEventListener("touchend", (event) => {
  if (touched === null) return;
  const [finger] = event.changedTouches, x = finger.clientX - touched[0], y = finger.clientY - touched[1];
  touched = null;
  if (Math.abs(x) > 40 && Math.abs(x) > 2 * Math.abs(y)) { stop(); turn(state.op + (x < 0 ? 1 : -1)); }
}, { passive: true });

addEventListener("hashchange", () => { stop(); read(location.hash); render(); });
// On paper stands the whole sequence, for the example and moment chosen.
addEventListener("beforeprint", () => {
  for (const part of all(".operation, .unit-block")) {
    part.hidden = false;
    refresh(part);
  }
});
addEventListener("afterprint", render);
read(location.hash);
render();
