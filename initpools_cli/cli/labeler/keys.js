// The key of each class, and the meaning of key events.

// g, n, s and u are other actions.
const KEYS = [..."123456789", ..."abcdefhijklmopqrtvwxyz"];

// Returns a key for each class while there are free ones; a class named by a digit or a letter gets that key.
export function keysOf(classes) {
  const keys = new Map();
  const taken = new Set();
  const free = [...KEYS];
  for (const name of classes) {
    const own = name.toLowerCase();
    if ((KEYS.includes(own) || own === "0") && !taken.has(own)) {
      keys.set(name, own);
      taken.add(own);
    }
  }
  for (const name of classes) {
    if (keys.has(name)) continue;
    const key = free.find((each) => !taken.has(each));
    if (key === undefined) break;
    keys.set(name, key);
    taken.add(key);
  }
  return keys;
}

const ACTIONS = { u: "undo", Backspace: "undo", s: "skip", " ": "skip", n: "new", "/": "find", g: "grid", Delete: "clear", Enter: "accept", "?": "unsure" };
const MOVES = { ArrowLeft: "back", ArrowRight: "forward", Home: "first", End: "last" };

// Returns what a key event means: {move}, {action}, {key} of a class, or null.
export function meaning(event, single) {
  const command = event.ctrlKey || event.metaKey;
  if (command && !event.shiftKey && !event.altKey && event.key.toLowerCase() === "z") return { action: "undo" };
  if (command || event.altKey) return null;
  if (MOVES[event.key]) return { move: MOVES[event.key] };
  // A key that is held down counts once.
  if (event.repeat || !single) return null;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (ACTIONS[key]) return { action: ACTIONS[key] };
  // On some keyboards digits are typed with Shift.
  const digit = /^(?:Digit|Numpad)(\d)$/.exec(event.code);
  return { key: digit ? digit[1] : key };
}
