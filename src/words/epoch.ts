/** SOURCE_DATE_EPOCH. https://reproducible-builds.org/specs/source-date-epoch/ */

/** Seconds since 1970, as digits alone and no more than a Date takes; undefined for every other text. */
export function epochSeconds(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,12}$/.test(text) ? Number(text) : undefined;
}
