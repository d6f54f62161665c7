/** How far the two clocks may be apart before the wall's is taken over, in ms. */
const tolerance = 50;
/** What is added to the monotonic clock. */
let origin = performance.timeOrigin;

/**
 * The time now, in ms since the epoch with a fraction. It goes on evenly, and follows the wall clock when that was set, or
 * when the machine has slept, which the monotonic clock does not count.
 */
export function now(): number {
  const time = origin + performance.now();
  const ahead = Date.now() - time;
  if (Math.abs(ahead) < tolerance) return time;
  origin += ahead;
  return time + ahead;
}
