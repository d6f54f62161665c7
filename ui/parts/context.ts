/** What all views need: where data comes from, who looks, and how far the daemon's clock is ahead of the browser's. */
import { createContext } from 'preact';
import { useContext } from 'preact/hooks';
import type { Me } from '../../src/api/ui/types.ts';
import type { Source } from '../data/source.ts';

export interface Page {
  source: Source;
  me: Me;
  /** ms */
  offset: number;
}

export const PageContext = createContext<Page | undefined>(undefined);

export function usePage(): Page {
  const page = useContext(PageContext);
  if (page === undefined) throw new Error('outside of the page');
  return page;
}
