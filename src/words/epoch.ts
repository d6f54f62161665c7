/** SOURCE_DATE_EPOCH. https://reproducible-builds.org/specs/source-date-epoch/ */

/** The seconds since 1970, when the text is only digits and within the range of a Date; else undefined. */
export function epochSeconds(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,12}$/.test(text) ? Number(text) : undefined;
}
