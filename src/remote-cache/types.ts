/** The door of remote-cache: build caches that are kept elsewhere, and what a build says of them. */

/** `--cache-from` and `--cache-to` as they come: BuildKit's types and attributes. */
export interface CacheSpec {
  /** `registry`, `inline`, `local`; others are known by name only. */
  type: string;
  attrs: Readonly<Record<string, string>>;
}
