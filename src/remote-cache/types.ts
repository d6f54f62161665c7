/** The contract of remote-cache: how a build names foreign caches. */

/** The value of `--cache-from` or `--cache-to`, in BuildKit's types and attributes. */
export interface CacheSpec {
  /** `registry`, `inline` or `local`. Other types are refused by name. */
  type: string;
  attrs: Readonly<Record<string, string>>;
}
