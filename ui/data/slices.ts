/** Long work of the page, in slices between which the page is drawn and answers. */

/** How long work may go on before the page has its turn, ms. */
const slice = 8;

/**
 * Runs work that marks by `yield` where it may be interrupted. What one slice is enough for is done before this
 * function returns to its caller's next `await`. Resolves to undefined when `isWanted` says no after a slice.
 */
export async function inSlices<T>(
  work: Generator<void, T>,
  isWanted: () => boolean = () => true,
): Promise<T | undefined> {
  let began = performance.now();
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
    if (performance.now() - began < slice) continue;
    await new Promise((resolve) => setTimeout(resolve));
    if (!isWanted()) return undefined;
    began = performance.now();
  }
}
