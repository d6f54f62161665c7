/** The address of what is shown: `#/builds/REF/steps?step=…`. All that a view shows by choice is in it. */
import { useEffect, useState } from 'preact/hooks';
import { type Address, readAddress } from './address.ts';

export type { Address } from './address.ts';

/** Writes the address of a path; fields that are empty are left out. */
export function addressOf(path: readonly string[], query: Record<string, string | undefined> = {}): string {
  const fields = Object.entries(query).filter(([, value]) => value !== undefined && value !== '');
  const text = new URLSearchParams(fields as [string, string][]).toString();
  return `#/${path.map((part) => encodeURIComponent(part)).join('/')}${text === '' ? '' : `?${text}`}`;
}

/** The address now, and again when it changes. */
export function useAddress(): Address {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const changed = () => setHash(location.hash);
    addEventListener('hashchange', changed);
    return () => removeEventListener('hashchange', changed);
  }, []);
  return readAddress(hash);
}

/** Goes to an address. `quiet`: without a step in the browser's history, as for each letter of a search. */
export function go(address: string, quiet = false): void {
  if (address === location.hash) return;
  if (!quiet) {
    location.hash = address;
    return;
  }
  history.replaceState(null, '', address);
  dispatchEvent(new HashChangeEvent('hashchange'));
}

/** Changes fields of the query of the address now. */
export function setQuery(changes: Record<string, string | undefined>, quiet = true): void {
  const { path, query } = readAddress(location.hash);
  go(addressOf(path, { ...Object.fromEntries(query), ...changes }), quiet);
}
