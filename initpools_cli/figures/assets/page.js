// Draws the figures of a page: each when it is scrolled near, in the theme chosen, in the arrangement that fits.
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const looks = read("looks");
  const chooser = document.getElementById("theme");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const small = window.matchMedia("(max-width: 640px)");
  const targets = [...document.querySelectorAll(".plot")];
  const drawn = new Map();
  // Browsers keep about sixteen WebGL contexts, and a figure takes three.
  const MOST_WEBGL = 4;
  const config = {
    responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d"],
    showSendToCloud: false, plotlyServerURL: "",
  };
  let printing = false;

  const theme = () => {
    if (printing) return "light";
    if (chooser.value !== "auto") return chooser.value;
    return dark.matches ? "dark" : "light";
  };

  // Colors of the light page's ink and lines become those of the theme; data of many points have none of them.
  const recolored = (value, colors) => {
    if (typeof value === "string") return value.length === 7 && colors[value] || value;
    if (Array.isArray(value)) return value.length > 1000 ? value : value.map((part) => recolored(part, colors));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, recolored(part, colors)]));
  };

  // "annotations[0].x" names a place in the layout, as in Plotly.relayout.
  const put = (layout, place, value) => {
    const keys = place.split(/[.[\]]+/).filter(Boolean);
    const last = keys.pop();
    keys.reduce((inside, key) => inside[key] ??= {}, layout)[last] = value;
  };

  const draw = async (target) => {
    const fresh = !drawn.has(target);
    const figure = drawn.get(target) ?? read(target.id + "-data");
    drawn.set(target, figure);
    const { colors, template } = looks[theme()];
    const layout = recolored({ ...figure.layout, meta: undefined }, colors);
    const arrangement = (figure.layout.meta ?? {})[small.matches ? "narrow" : "wide"] ?? {};
    Object.entries(arrangement).forEach(([place, value]) => put(layout, place, structuredClone(value)));
    Object.assign(layout, { template, uirevision: "kept" });
    await Plotly.react(target, recolored(figure.data, colors), layout, config);
    if (fresh && document.getElementById(target.id + "-thumbnails")) {
      window.showThumbnails(target, read(target.id + "-thumbnails"));
    }
    target.dataset.drawn = theme();
  };

  const webgl = (target) => drawn.get(target)?.data.some((trace) => trace.type.endsWith("gl"));

  const forget = (target) => {
    if (webgl(target) && targets.filter(webgl).length > MOST_WEBGL) {
      Plotly.purge(target);
      drawn.delete(target);
      delete target.dataset.drawn;
    }
  };

  const near = new IntersectionObserver((entries) => {
    entries.forEach(({ target, isIntersecting }) => {
      if (!isIntersecting) forget(target);
      else if (!drawn.has(target)) draw(target);
    });
  }, { rootMargin: "800px 0px" });

  const redraw = () => {
    document.documentElement.dataset.theme = printing ? "light" : chooser.value;
    return Promise.all([...drawn.keys()].map(draw));
  };
  chooser.addEventListener("change", redraw);
  dark.addEventListener("change", redraw);
  small.addEventListener("change", redraw);

  const print = (starts) => {
    printing = starts;
    document.querySelectorAll("details").forEach((part) => {
      if (starts) part.dataset.before = part.open;
      part.open = starts || part.dataset.before === "true";
    });
    if (starts) targets.filter((target) => !drawn.has(target)).forEach(draw);
    redraw();
  };
  window.addEventListener("beforeprint", () => print(true));
  window.addEventListener("afterprint", () => print(false));

  targets.forEach((target) => near.observe(target));
})();
