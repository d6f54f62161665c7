/** What those who note builds need of the history; loaded when they need it. */
import type { NoteHelp } from '../../records/index.ts';
import { openHistory } from '../buildkit/history/open.ts';
import { encodedError } from './note-error.ts';

export const noteHelp: NoteHelp = {
  encodedError,
  async takeInNotes(root) {
    const history = openHistory(root);
    await history.settled().finally(() => history.close());
  },
};
