// Which images the grid shows, in which order and groups.

const byText = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
// Images without a confidence come last in both directions.
const byConfidence = (sign) => (a, b) =>
  a.confidence === b.confidence ? 0 : a.confidence === null ? 1 : b.confidence === null ? -1 : sign * (a.confidence - b.confidence);

const SORTS = {
  order: () => 0,
  path: (a, b) => byText(a.path, b.path),
  low: byConfidence(1),
  high: byConfidence(-1),
  similar: (a, b) => (a.similar ?? Infinity) - (b.similar ?? Infinity) || 0,
  predicted: (a, b) => (a.predicted && b.predicted ? byText(a.predicted, b.predicted) : !a.predicted - !b.predicted),
};

// Returns the rows of the columns that the server sends, with predictions only if they are to be shown.
export function rowsOf(columns, predictions) {
  const { index, path, label, skipped } = columns;
  return index.map((each, place) => ({
    index: each,
    place,
    path: path[place] || `image ${each}`,
    label: label[place],
    skipped: skipped[place],
    predicted: (predictions && columns.predicted[place]) || "",
    confidence: predictions ? columns.confidence[place] : null,
    cluster: columns.cluster[place],
    group: columns.group[place],
    similar: columns.similar[place],
  }));
}

// Returns the rows that pass the filters; `isLabeled` says whether a row has a valid label.
export function filtered(rows, { show, name, low, high, path }, isLabeled) {
  const text = path.trim().toLowerCase();
  const anyConfidence = low <= 0 && high >= 1;
  const states = {
    open: (row) => !isLabeled(row) && !row.skipped,
    labeled: isLabeled,
    skipped: (row) => row.skipped && !isLabeled(row),
    all: () => true,
  };
  return rows.filter(
    (row) =>
      states[show](row) &&
      (!name || (isLabeled(row) ? row.label : row.predicted) === name) &&
      (anyConfidence || (row.confidence !== null && row.confidence >= low && row.confidence <= high)) &&
      (!text || row.path.toLowerCase().includes(text)),
  );
}

// Returns a sorted copy; equal rows keep their order.
export const sorted = (rows, sort) => (sort === "order" ? rows : [...rows].sort(SORTS[sort]));

// Returns groups of rows, [{name, rows}], in the order of `classes`, of the clusters, or of the sizes of near-duplicate groups.
export function grouped(rows, by, classes) {
  if (by === "none") return rows.length ? [{ name: "", rows }] : [];
  const groups = new Map();
  for (const row of rows) {
    const key = KEYS[by](row);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(row);
  }
  return by === "near" ? nearGroups(groups) : [...groups].sort(ORDERS[by](classes)).map(([key, each]) => ({ name: NAMES[by](key), rows: each }));
}

const KEYS = {
  predicted: (row) => row.predicted,
  cluster: (row) => row.cluster ?? Infinity,
  near: (row) => row.group ?? -1 - row.index,
};
const NAMES = {
  predicted: (key) => key || "No prediction",
  cluster: (key) => (key === Infinity ? "No cluster" : `Cluster ${key + 1}`),
};
const ORDERS = {
  predicted: (classes) => {
    const places = new Map(classes.map((name, place) => [name, place]));
    const place = (key) => (key ? (places.get(key) ?? classes.length) : Infinity);
    return ([a], [b]) => (place(a) === place(b) ? byText(a, b) : place(a) - place(b));
  },
  cluster: () => ([a], [b]) => (a === b ? 0 : a - b),
};

// The largest groups come first; images without a near-duplicate among those shown are one last group.
function nearGroups(groups) {
  const several = [...groups.values()].filter((rows) => rows.length > 1).sort((a, b) => b.length - a.length);
  const single = [...groups.values()].filter((rows) => rows.length === 1).flat();
  const named = several.map((rows, place) => ({ name: `Near-duplicates ${place + 1}`, rows }));
  return single.length ? [...named, { name: "No near-duplicate here", rows: single }] : named;
}
