// Which key labels with which class, and what the keys typed mean.

// u, s and n have meanings of their own.
const KEYS = [..."123456789", ..."abcdefghijklmopqrtvwxyz"];

// A key for each class, as far as they last: a class that is called by a digit or a letter gets that one.
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

const ACTIONS = { u: "undo", Backspace: "undo", s: "skip", " ": "skip", n: "new", "/": "find", Delete: "clear" };
const MOVES = { ArrowLeft: "back", ArrowRight: "forward", Home: "first", End: "last" };

// What an event asks for: {move}, {action}, {key} of a class, or null.
export function meaning(event, single) {
  const command = event.ctrlKey || event.metaKey;
  if (command && !event.shiftKey && !event.altKey && event.key.toLowerCase() === "z") return { action: "undo" };
  if (command || event.altKey) return null;
  if (MOVES[event.key]) return { move: MOVES[event.key] };
  // A key that is held down says one thing, not one of every image that follows.
  if (event.repeat || !single) return null;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (ACTIONS[key]) return { action: ACTIONS[key] };
  // On some keyboards digits are typed with Shift.
  const digit = /^(?:Digit|Numpad)(\d)$/.exec(event.code);
  return { key: digit ? digit[1] : key };
}
