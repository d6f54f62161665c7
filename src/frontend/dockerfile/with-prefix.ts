/** Options with a prefix, under their names without it. */
export function withPrefix(
  options: Readonly<Record<string, string>>,
  prefix: string,
): Record<string, string> {
  const found = Object.create(null) as Record<string, string>;
  for (const [name, value] of Object.entries(options)) {
    if (name.startsWith(prefix)) found[name.slice(prefix.length)] = value;
  }
  return { ...found };
}
