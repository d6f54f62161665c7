/** Text of others made fit to be shown: nothing in it turns what stands beside it round, and none is endless. Pure. */

/** Signs that turn the order of text round, within it and beyond it. */
const turning = /[\u202a-\u202e\u2066-\u2069]/;
const allTurning = new RegExp(turning, 'g');

/** The text with a sign that can be seen for each that would turn it round. */
export function straight(text: string): string {
  return turning.test(text) ? text.replace(allTurning, '\ufffd') : text;
}

/** The beginning of a text, with a mark when more follows. */
export function clipped(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}
