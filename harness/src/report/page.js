// Makes the plots of a report answer: values under a crosshair, zoom in time, targets shown or not, together or apart.
// The pictures are drawn already; this moves what is in their fields and draws the samples finer. Without it the page
// is complete, and it asks nobody for anything.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("plotted").textContent);
  const root = document.documentElement;
  const MINUS = "\u2212";
  const TIME_STEPS = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 10800, 21600, 43200, 86400];
  // What is shown: a stretch of time (null: all of it), and which targets, by their place.
  let view = null;
  const shown = new Set(data.targets.keys());

  // --- Themes: as the system has it, light, dark.

  const themes = ["auto", "light", "dark"];
  const themeButton = document.getElementById("theme");
  const remembered = (write) => {
    // A browser may keep nothing for a file.
    try { return write === undefined ? localStorage.getItem("theme") : localStorage.setItem("theme", write); } catch { return null; }
  };
  const setTheme = (theme) => {
    if (theme === "auto") delete root.dataset.theme; else root.dataset.theme = theme;
    themeButton.textContent = `Theme: ${theme}`;
    themeButton.dataset.theme = theme;
  };
  setTheme(themes.includes(remembered()) ? remembered() : "auto");
  themeButton.addEventListener("click", () => {
    const next = themes[(themes.indexOf(themeButton.dataset.theme) + 1) % themes.length];
    setTheme(next);
    remembered(next);
  });
  themeButton.hidden = false;

  // --- Series and figures.

  const sums = (steps) => { let sum = 0; return steps.map((step) => (sum += step)); };
  const series = {};
  for (const [resource, lines] of Object.entries(data.series)) {
    series[resource] = new Map(lines.map((line) => [line.target, line.stretches.map(([times, counts]) => ({
      times: sums(times).map((time) => time / 10),
      counts: sums(counts),
    }))]));
  }
  const grouped = (digits) => String(digits).replace(/\B(?=(\d{3})+$)/g, ",");
  const change = (count) => (count === 0 ? "0" : (count < 0 ? MINUS : "+") + grouped(Math.abs(Math.round(count))));
  const clock = (seconds) => {
    const whole = Math.max(0, Math.round(seconds));
    const two = (value) => String(value).padStart(2, "0");
    const hours = Math.floor(whole / 3600);
    return `${hours > 0 ? `${hours}:` : ""}${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
  };
  const multiples = (low, high, step) => {
    const found = [];
    for (let index = Math.ceil(low / step); index * step <= high && found.length < 100; index += 1) found.push(index * step);
    return found;
  };
  const roundStep = (rough) => {
    const power = 10 ** Math.floor(Math.log10(rough));
    return Math.max(1, [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough));
  };
  // The place of the first time that is not before this one.
  const placeOf = (times, time) => {
    let [low, high] = [0, times.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (times[middle] < time) low = middle + 1; else high = middle;
    }
    return low;
  };
  // The sample nearest to a time; none where it lies in a gap.
  const nearest = (stretches, time, reach) => {
    let best = null;
    for (const { times, counts } of stretches) {
      const place = placeOf(times, time);
      for (const index of [place - 1, place]) {
        const away = Math.abs(times[index] - time);
        const inside = place > 0 && place < times.length;
        if ((inside || away <= reach) && (best === null || away < best.away)) best = { away, time: times[index], count: counts[index] };
      }
    }
    return best;
  };

  // --- Panels: a field, its axes, and the geometry that its shapes were drawn with.

  const numbers = (text) => text.trim().split(/[\s,]+/).map(Number);
  const GEOMETRY = { polyline: ["points"], polygon: ["points"], line: ["x1", "y1", "x2", "y2"], rect: ["x", "y", "width", "height"], circle: ["cx", "cy"] };
  const panelOf = (field) => {
    const [x, y, width, height] = numbers(field.getAttribute("viewBox"));
    const shapes = [...field.querySelectorAll("polyline, polygon, line, rect, circle")]
      .filter((shape) => !shape.closest(".samples, .grid, .faults"))
      .map((shape) => ({ shape, drawn: Object.fromEntries(GEOMETRY[shape.tagName].map((name) => [name, numbers(shape.getAttribute(name))])) }));
    return {
      field, shapes, x, y, width, height,
      time: numbers(field.dataset.time),
      value: numbers(field.dataset.value),
      counts: field.previousElementSibling,
      grid: field.querySelector(".grid"),
      faults: field.querySelector(".faults"),
      samples: [...field.querySelectorAll(".samples")].map((group) => ({ group, target: Number(group.parentElement.dataset.target), drawn: [...group.children] })),
    };
  };
  const figures = [...document.querySelectorAll("figure[data-resource]")].map((figure) => ({
    figure,
    lines: series[figure.dataset.resource] ?? new Map(),
    readout: figure.querySelector(".readout"),
    pictures: [...figure.querySelectorAll("svg[role=img]")].map((svg) => ({ svg, panels: [...svg.querySelectorAll(".field")].map(panelOf), times: svg.querySelector(".times") })),
    cursor: null,
  }));
  const whole = figures[0]?.pictures[0]?.panels[0]?.time ?? [0, 1];
  const NS = figures[0]?.pictures[0]?.svg.namespaceURI;
  const make = (tag, attributes) => {
    const element = document.createElementNS(NS, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };

  // The counts to show: as drawn, or those of the stretch and the targets that are shown.
  const valueRange = (lines, panel, isMain) => {
    if (!isMain || (view === null && shown.size === data.targets.length)) return panel.value;
    const [from, to] = view ?? panel.time;
    const own = new Set(panel.samples.map((sample) => sample.target));
    let [low, high] = [Infinity, -Infinity];
    for (const [target, stretches] of lines) {
      if (!shown.has(target) || !own.has(target)) continue;
      for (const { times, counts } of stretches) {
        for (let index = Math.max(0, placeOf(times, from) - 1); index < times.length && times[index] <= to; index += 1) {
          low = Math.min(low, counts[index]);
          high = Math.max(high, counts[index]);
        }
      }
    }
    if (low > high) return panel.value;
    const air = Math.max((high - low) * 0.08, 0.5);
    return [low - air, high + air];
  };

  const draw = (lines, panel, isMain, zoomed) => {
    const [from, to] = view ?? panel.time;
    const [low, high] = valueRange(lines, panel, isMain);
    panel.shows = { from, to, low, high };
    const atTime = (time) => panel.x + ((time - from) / (to - from)) * panel.width;
    const atCount = (count) => panel.y + panel.height - ((count - low) / (high - low)) * panel.height;
    panel.atTime = atTime;
    panel.atCount = atCount;
    const [timeFrom, timeTo] = panel.time;
    const [valueLow, valueHigh] = panel.value;
    const moveX = (x) => atTime(timeFrom + ((x - panel.x) / panel.width) * (timeTo - timeFrom));
    const moveY = (y) => atCount(valueHigh - ((y - panel.y) / panel.height) * (valueHigh - valueLow));
    for (const { shape, drawn } of panel.shapes) {
      // What reaches from the lower to the upper edge does so wherever it is zoomed.
      const upright = (y) => (y <= panel.y + 1 || y >= panel.y + panel.height - 1 ? y : moveY(y));
      if (shape.parentElement.classList.contains("marks") && drawn.points) {
        const middle = (odd) => { const own = drawn.points.filter((_, index) => index % 2 === odd); return (Math.min(...own) + Math.max(...own)) / 2; };
        const [x, y] = [middle(0), middle(1)];
        const [dx, dy] = [moveX(x) - x, moveY(y) - y];
        shape.setAttribute("points", drawn.points.map((value, index) => (value + (index % 2 === 0 ? dx : dy)).toFixed(1)).join(" "));
      } else if (drawn.points) {
        const isUpright = drawn.points.length === 4 && drawn.points[0] === drawn.points[2];
        const points = drawn.points.map((value, index) => (index % 2 === 0 ? moveX(value) : isUpright ? upright(value) : moveY(value)));
        shape.setAttribute("points", points.map((value, index) => `${value.toFixed(1)}${index % 2 === 0 ? "," : " "}`).join(""));
      } else if (drawn.width) {
        shape.setAttribute("x", moveX(drawn.x[0]));
        shape.setAttribute("width", Math.max(1, moveX(drawn.x[0] + drawn.width[0]) - moveX(drawn.x[0])));
      } else {
        for (const [name, [value]] of Object.entries(drawn)) shape.setAttribute(name, /x/.test(name) ? moveX(value) : drawn.x1 && drawn.x1[0] === drawn.x2[0] ? upright(value) : moveY(value));
      }
    }
    for (const { group, target, drawn } of panel.samples) {
      if (!zoomed) { group.replaceChildren(...drawn); continue; }
      const pattern = drawn[0];
      if (!pattern) continue;
      group.replaceChildren(...(lines.get(target) ?? []).map(({ times, counts }) => {
        const first = Math.max(0, placeOf(times, from) - 1);
        const last = placeOf(times, to) + 1;
        const points = times.slice(first, last).map((time, index) => `${atTime(time).toFixed(1)},${atCount(counts[first + index]).toFixed(1)}`);
        const line = pattern.cloneNode();
        line.setAttribute("points", points.join(" "));
        return line;
      }));
    }
    label(panel.counts, zoomed, multiples(low, high, roundStep((high - low) / (panel.height / 100))).map((count) => ({ text: change(count), y: atCount(count) })));
    const ticks = zoomed ? multiples(low, high, roundStep((high - low) / (panel.height / 100))) : null;
    panel.grid.drawn ??= [...panel.grid.children];
    panel.grid.replaceChildren(...(ticks === null ? panel.grid.drawn : ticks.map((count) => {
      const line = panel.grid.drawn[0]?.cloneNode() ?? make("polyline", {});
      line.setAttribute("points", `${panel.x},${atCount(count)} ${panel.x + panel.width},${atCount(count)}`);
      return line;
    })));
    panel.faults.drawn ??= [...panel.faults.children];
    panel.faults.replaceChildren(...(view === null ? panel.faults.drawn : data.faults.filter(([, begin, end]) => end >= from && begin <= to).map(([, begin, end]) => {
      const shade = panel.faults.drawn[0].cloneNode();
      shade.setAttribute("x", atTime(begin));
      shade.setAttribute("width", Math.max(1, atTime(end) - atTime(begin)));
      return shade;
    })));
  };

  // Puts other labels into an axis, in the letters of those that it was drawn with.
  const label = (axis, zoomed, labels) => {
    axis.drawn ??= [...axis.children];
    const pattern = axis.drawn[0];
    if (!zoomed || !pattern) { axis.replaceChildren(...axis.drawn); return; }
    axis.replaceChildren(...labels.map(({ text, x, y }) => {
      const element = pattern.cloneNode();
      element.textContent = text;
      if (x !== undefined) element.setAttribute("x", x);
      if (y !== undefined) element.setAttribute("y", y);
      return element;
    }));
  };

  const drawAll = () => {
    const zoomed = view !== null || shown.size < data.targets.length;
    const [from, to] = view ?? whole;
    for (const { lines, pictures } of figures) {
      for (const { panels, times, svg } of pictures) {
        panels.forEach((panel, index) => draw(lines, panel, index === 0, zoomed));
        const room = svg.classList.contains("wide") ? 10 : 5;
        const step = TIME_STEPS.find((step) => step >= (to - from) / room) ?? 86400 * Math.ceil((to - from) / room / 86400);
        if (times) label(times, view !== null, multiples(from, to, step).map((time) => ({ text: clock(time), x: panels[0].atTime(time) })));
      }
    }
    for (const element of document.querySelectorAll("figure .pinned")) element.toggleAttribute("hidden", zoomed);
    for (const element of document.querySelectorAll("figure [data-target]")) element.toggleAttribute("hidden", !shown.has(Number(element.dataset.target)));
    document.getElementById("span").textContent = view === null ? "whole run" : `${clock(from)} to ${clock(to)}`;
    figures.forEach(drawCursor);
  };

  const zoomTo = (from, to) => {
    const least = Math.min(2, whole[1] - whole[0]);
    const length = Math.min(Math.max(to - from, least), whole[1] - whole[0]);
    const start = Math.min(Math.max((from + to - length) / 2, whole[0]), whole[1] - length);
    view = length >= whole[1] - whole[0] ? null : [start, start + length];
    drawAll();
  };
  const zoomBy = (factor, around) => {
    const [from, to] = view ?? whole;
    const middle = around ?? (from + to) / 2;
    zoomTo(middle - (middle - from) * factor, middle + (to - middle) * factor);
  };
  const move = (share) => {
    const [from, to] = view ?? whole;
    zoomTo(from + (to - from) * share, to + (to - from) * share);
  };

  // --- The crosshair and what it says.

  const drawCursor = ({ figure, lines, readout, pictures, cursor }) => {
    for (const mark of figure.querySelectorAll(".cross, .dot")) mark.remove();
    if (cursor === null) { readout.replaceChildren(readout.dataset.hint); return; }
    const [from, to] = view ?? whole;
    const reach = Math.max((to - from) / 100, 2);
    const found = [...lines].filter(([target]) => shown.has(target)).map(([target, stretches]) => [target, nearest(stretches, cursor, reach)]);
    for (const { svg, panels } of pictures) {
      const [first, last] = [panels[0], panels[panels.length - 1]];
      if (!first) continue;
      const x = first.atTime(cursor);
      svg.append(make("line", { class: "cross", x1: x, x2: x, y1: first.y, y2: last.y + last.height }));
      for (const panel of panels) {
        const own = new Set(panel.samples.map((sample) => sample.target));
        for (const [target, sample] of found) {
          if (sample === null || !own.has(target) || sample.count < panel.shows.low || sample.count > panel.shows.high) continue;
          svg.append(make("circle", { class: `dot t${target % 6}`, cx: panel.atTime(sample.time), cy: panel.atCount(sample.count), r: 14 }));
        }
      }
    }
    const words = (tag, text, name) => { const element = document.createElement(tag); element.textContent = text; if (name) element.className = name; return element; };
    const during = [...data.phases, ...data.steps, ...data.faults].filter(([, begin, end]) => begin <= cursor && cursor < end).map(([name]) => name);
    readout.replaceChildren(words("b", clock(cursor)), ` ${during.join(", ")} `, ...found.map(([target, sample]) => {
      const one = words("span", "", "value");
      const name = words("span", data.targets[target], `target t${target % 6}`);
      name.prepend(words("span", "", `form f${target % 4}`));
      one.append(name, ` ${sample === null ? "\u2013" : change(sample.count)} `);
      return one;
    }));
  };
  const setCursor = (entry, time) => {
    const [from, to] = view ?? whole;
    entry.cursor = time === null ? null : Math.min(Math.max(time, from), to);
    drawCursor(entry);
  };
  const timeAt = ({ svg, panels: [panel] }, event) => {
    const matrix = svg.getScreenCTM();
    if (!panel || !matrix) return null;
    const x = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse()).x;
    const [from, to] = view ?? whole;
    return from + ((x - panel.x) / panel.width) * (to - from);
  };

  for (const entry of figures) {
    const { figure, pictures, readout } = entry;
    readout.hidden = false;
    figure.tabIndex = 0;
    for (const picture of pictures) {
      const { svg, panels } = picture;
      let began = null;
      let area = null;
      const inside = (time) => { const [from, to] = view ?? whole; return time !== null && time >= from && time <= to; };
      const end = () => { area?.remove(); began = null; area = null; };
      svg.addEventListener("pointerdown", (event) => {
        const time = timeAt(picture, event);
        if (event.button !== 0 || !inside(time)) return;
        began = { time, x: event.clientX };
        svg.setPointerCapture(event.pointerId);
      });
      svg.addEventListener("pointermove", (event) => {
        const time = timeAt(picture, event);
        if (began === null) { setCursor(entry, inside(time) ? time : null); return; }
        const [first, last] = [panels[0], panels[panels.length - 1]];
        const [from, to] = view ?? whole;
        const [left, right] = [began.time, Math.min(Math.max(time, from), to)].sort((a, b) => a - b).map(first.atTime);
        area ??= svg.appendChild(make("rect", { class: "chosen" }));
        for (const [name, value] of Object.entries({ x: left, y: first.y, width: right - left, height: last.y + last.height - first.y })) area.setAttribute(name, value);
      });
      svg.addEventListener("pointerup", (event) => {
        if (began === null) return;
        const { time, x } = began;
        const other = timeAt(picture, event);
        const far = Math.abs(event.clientX - x) > 8;
        end();
        if (far) zoomTo(Math.min(time, other), Math.max(time, other)); else setCursor(entry, time);
      });
      svg.addEventListener("pointercancel", end);
      svg.addEventListener("pointerleave", () => { if (began === null) setCursor(entry, null); });
      svg.addEventListener("dblclick", () => { view = null; drawAll(); });
    }
    figure.addEventListener("keydown", (event) => {
      if (event.target !== figure || event.ctrlKey || event.metaKey || event.altKey) return;
      const [from, to] = view ?? whole;
      const step = (to - from) / (event.shiftKey ? 10 : 100);
      const at = entry.cursor;
      const keys = {
        ArrowLeft: () => setCursor(entry, (at ?? to) - step),
        ArrowRight: () => setCursor(entry, (at ?? from) + step),
        Home: () => setCursor(entry, from),
        End: () => setCursor(entry, to),
        "+": () => zoomBy(0.5, at),
        "=": () => zoomBy(0.5, at),
        "-": () => zoomBy(2, at),
        0: () => { view = null; drawAll(); },
        Escape: () => setCursor(entry, null),
      };
      if (!keys[event.key]) return;
      event.preventDefault();
      keys[event.key]();
    });
    figure.addEventListener("blur", () => setCursor(entry, null));
  }

  // --- Tools for all plots together.

  const tools = document.getElementById("tools");
  if (tools && figures.length > 0) {
    const actions = { in: () => zoomBy(0.5), out: () => zoomBy(2), back: () => move(-0.5), on: () => move(0.5), all: () => { view = null; drawAll(); } };
    for (const button of tools.querySelectorAll("[data-do]")) button.addEventListener("click", actions[button.dataset.do]);
    for (const box of tools.querySelectorAll("[data-show]")) {
      box.checked = true;
      box.addEventListener("change", () => {
        const place = Number(box.dataset.show);
        if (box.checked) shown.add(place); else shown.delete(place);
        drawAll();
      });
    }
    const apart = document.getElementById("apart");
    apart.checked = false;
    apart.addEventListener("change", () => {
      for (const { figure } of figures) figure.classList.toggle("parted", apart.checked);
    });
    tools.hidden = false;
    drawAll();
    // On paper nobody can zoom out.
    let kept = null;
    addEventListener("beforeprint", () => { kept = [view, [...shown]]; view = null; data.targets.forEach((_, place) => shown.add(place)); drawAll(); });
    addEventListener("afterprint", () => { if (!kept) return; view = kept[0]; shown.clear(); kept[1].forEach((place) => shown.add(place)); drawAll(); });
  }
})();
