/** "Did you mean …?": the nearest of some known words. */

/** The number of edits between two words (insert, delete, replace); `limit` when there are that many or more. */
function distance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit;
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    let least = i;
    for (let j = 1; j <= b.length; j++) {
      const cost = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
      next.push(cost);
      if (cost < least) least = cost;
    }
    if (least >= limit) return limit;
    row = next;
  }
  return Math.min(row[b.length]!, limit);
}

/** The longest word that is compared. Longer words, and further options, are not worth the time. */
const maxWord = 100;
const maxOptions = 500;

/**
 * The option that is nearest to `word`, at most two edits away; undefined when there is none, and when the word itself
 * is an option, for then the mistake is elsewhere. Case does not count unless `caseSensitive` is set; the answer then
 * takes the word's case, if that is all lower or all upper.
 */
export function suggest(word: string, options: Iterable<string>, caseSensitive = true): string | undefined {
  if (word.length > maxWord) return undefined;
  const wanted = caseSensitive ? word : word.toLowerCase();
  let best: string | undefined;
  let least = 3;
  let looked = 0;
  for (const option of options) {
    if (++looked > maxOptions) break;
    const candidate = caseSensitive ? option : option.toLowerCase();
    if (candidate === wanted) return undefined;
    const d = distance(wanted, candidate, least);
    if (d < least) {
      least = d;
      best = option;
    }
  }
  if (best === undefined || caseSensitive) return best;
  if (word === word.toLowerCase()) return best.toLowerCase();
  return word === word.toUpperCase() ? best.toUpperCase() : best;
}

/** ` (did you mean X?)`, or '' when nothing is near. */
export function didYouMean(word: string, options: Iterable<string>, caseSensitive = true): string {
  const match = suggest(word, options, caseSensitive);
  return match === undefined ? '' : ` (did you mean ${match}?)`;
}
