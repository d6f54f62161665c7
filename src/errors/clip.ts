/** Leaves out the middle of a text of more than `max` characters: clients may send texts of any length. */
export function clip(text: string, max: number): string {
  if (text.length <= max) return text;
  const half = Math.floor((max - 5) / 2);
  return `${text.slice(0, half)} […] ${text.slice(-half)}`.toWellFormed();
}
