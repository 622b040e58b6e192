// Pictures beside a figure of images: hover over a point, tap it, or walk through the chosen ones with the keyboard.
window.showThumbnails = (() => {
  "use strict";
  const LISTED = 100;
  const SHOWN = 128;
  const LOOK = `
    .thumb-card { position: fixed; right: 12px; bottom: 12px; z-index: 20; max-width: min(240px, 60vw); padding: 8px;
      border: 1px solid var(--muted, GrayText); border-radius: 6px; background: var(--background, Canvas);
      color: var(--ink, CanvasText); font-size: .8125rem; line-height: 1.35; pointer-events: none;
      box-shadow: 0 2px 10px rgba(0, 0, 0, .3); overflow-wrap: anywhere; }
    .thumb-card canvas { display: block; max-width: 100%; margin-bottom: 4px; }
    .thumb-list { display: flex; flex-wrap: wrap; gap: 4px; margin: 8px 0; }
    .thumb-list button { font: inherit; color: inherit; background: transparent; border: 1px solid var(--muted, GrayText);
      border-radius: 4px; padding: 4px 8px; min-width: 44px; cursor: pointer; max-width: 100%; overflow-wrap: anywhere; }
    @media print { .thumb-card { display: none; } }`;
  const SIGNS = { "&lt;": "<", "&gt;": ">", "&amp;": "&", "&quot;": '"', "&#x27;": "'", "&#123;": "{" };
  let card = null;
  let turn = 0;

  // Plotly's texts hold escaped names and line breaks; they are shown as text, never parsed.
  const lines = (text) =>
    String(text || "").split("<br>").map((line) =>
      line.replace(/<\/?b>/g, "").replace(/&(?:lt|gt|amp|quot|#x27|#123);/g, (sign) => SIGNS[sign]));

  const last = (value) =>
    Array.isArray(value) || ArrayBuffer.isView(value) ? value[value.length - 1] : value;

  const cardOf = () => {
    if (!card) {
      const style = document.createElement("style");
      style.textContent = LOOK;
      document.head.append(style);
      card = document.createElement("div");
      card.className = "thumb-card";
      card.setAttribute("role", "status");
      card.hidden = true;
      document.body.append(card);
      document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
      document.addEventListener("pointerdown", (event) => {
        if (!event.target.closest(".js-plotly-plot, .thumb-list")) hide();
      });
    }
    return card;
  };

  const hide = () => { turn += 1; if (card) card.hidden = true; };

  return (target, meta) => {
    cardOf();
    const place = new Map(Array.from(meta.known, (image, i) => [Number(image), i]));
    const perSheet = meta.columns * meta.rows;
    const decoded = new Map();
    const sheet = (number) => {
      if (!decoded.has(number)) {
        const image = new Image();
        image.src = meta.sheets[number];
        decoded.set(number, image.decode().then(() => image));
      }
      return decoded.get(number);
    };

    const paint = (canvas, i) => sheet(Math.floor(i / perSheet)).then((image) => {
      const within = i % perSheet;
      const side = Math.max(SHOWN, meta.tile);
      canvas.width = canvas.height = side;
      const pen = canvas.getContext("2d");
      // Enlarged pixels stay pixels.
      pen.imageSmoothingEnabled = false;
      const left = (within % meta.columns) * meta.tile;
      const top = Math.floor(within / meta.columns) * meta.tile;
      pen.drawImage(image, left, top, meta.tile, meta.tile, 0, 0, side, side);
    });

    const show = (index, text) => {
      const box = cardOf();
      const mine = ++turn;
      const said = [...lines(text).filter(Boolean), `image ${index}`];
      const words = said.map((line) => Object.assign(document.createElement("div"), { textContent: line }));
      const i = place.get(Number(index));
      if (i === undefined) {
        words.push(Object.assign(document.createElement("div"), { textContent: "(no picture of it in this page)" }));
        box.replaceChildren(...words);
        box.hidden = false;
        return;
      }
      const canvas = document.createElement("canvas");
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", said.join(", "));
      paint(canvas, i).then(() => {
        // The pointer may have moved on while the sheet was decoded.
        if (mine !== turn) return;
        box.replaceChildren(canvas, ...words);
        box.hidden = false;
      }, () => {});
    };

    const onPoint = (event) => {
      const point = (event.points || []).find((each) => each.customdata !== undefined && each.customdata !== null);
      if (!point) return;
      const group = (point.data.meta || {}).group;
      show(last(point.customdata), [point.hovertext, group].filter(Boolean).join("<br>"));
    };
    target.on("plotly_hover", onPoint);
    target.on("plotly_click", onPoint);
    target.on("plotly_unhover", hide);

    // The same for the keyboard and for fingers: the chosen images as a row of buttons.
    const picks = [];
    for (const trace of target.data) {
      if (!trace.meta || !trace.meta.picks) continue;
      Array.from(trace.meta.picks).forEach((index, i) =>
        picks.push({ index, name: trace.name, text: trace.hovertext[i], label: trace.meta.labels[i] }));
    }
    if (!picks.length || target.thumbnailList) return;
    const details = document.createElement("details");
    const rest = picks.length > LISTED ? `, the first ${LISTED} of ${picks.length}` : "";
    details.append(
      Object.assign(document.createElement("summary"), { textContent: `Pictures of the chosen images${rest}` }));
    const list = document.createElement("div");
    list.className = "thumb-list";
    for (const pick of picks.slice(0, LISTED)) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = lines(pick.label).join(" ");
      button.addEventListener("focus", () => show(pick.index, pick.text));
      button.addEventListener("click", () => show(pick.index, pick.text));
      button.addEventListener("pointerenter", () => show(pick.index, pick.text));
      button.addEventListener("blur", hide);
      list.append(button);
    }
    details.append(list);
    details.addEventListener("toggle", () => { if (!details.open) hide(); });
    target.thumbnailList = details;
    target.after(details);
  };
})();
