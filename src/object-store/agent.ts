import { version } from '../version.ts';

/** The name that object stores see. */
export const userAgent = `drydock/${version}`;
