const obeyed = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/;
const allObeyed = new RegExp(obeyed, 'g');

/**
 * The text of others (names of steps and builds, labels, Dockerfiles) as a terminal may be given it: signs that a terminal
 * obeys, and those that turn the order of text round, are shown as U+FFFD. Ends of lines and tabs stay. What steps print
 * is not for this: their colours are theirs. Pure.
 */
export function inert(text: string): string {
  return obeyed.test(text) ? text.replace(allObeyed, '\ufffd') : text;
}

/** The same in one line, as a cell of a table. */
export function inertLine(text: string): string {
  return inert(text).replace(/\s*\n\s*/g, ' ');
}
