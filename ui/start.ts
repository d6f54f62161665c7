/**
 * Runs in the document before the page's script is there: asks for the first data meanwhile. The page takes the answers
 * (`takeStarted`) in place of asking for them.
 */
import { firstAddresses, type Started } from './data/first.ts';

const started: Started = new Map();
for (const address of firstAddresses(location.hash)) {
  const answer = fetch(address);
  // The page asks again when there is no answer.
  answer.catch(() => {});
  started.set(address, answer);
}
Object.assign(window, { started });
