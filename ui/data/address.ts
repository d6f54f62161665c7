/** The address of what is shown, read. Pure. */
export interface Address {
  /** The decoded parts of the path. */
  path: string[];
  query: URLSearchParams;
}

/** Reads the part of an address behind the `#`. */
export function readAddress(hash: string): Address {
  const [path = '', query = ''] = hash.replace(/^#?\/?/, '').split('?', 2);
  const parts = path.split('/').filter((part) => part !== '');
  return { path: parts.map(decoded), query: new URLSearchParams(query) };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
