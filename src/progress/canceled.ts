/** How it is told that something was given up. Pure, and the page's as well. */

/** The error message of a vertex that was given up. */
export const canceledText = 'CANCELED';

/** Whether the error message of a vertex, or of a build, says that it was given up: in our word, or in BuildKit's. */
export function saysCanceled(message: string): boolean {
  return message === canceledText || /^context canceled(?:: |$)|: context canceled$/.test(message);
}
