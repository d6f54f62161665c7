/**
 * A text without the character that it ends with, however often it stands there. Takes time linear in the text: V8
 * begins a search for `/x+$/` anew at each character of a run that is not at the end.
 *
 *     withoutEnd('a/b//', '/') // 'a/b'
 */
export function withoutEnd(text: string, character: string): string {
  let end = text.length;
  while (end > 0 && text[end - 1] === character) end--;
  return text.slice(0, end);
}
