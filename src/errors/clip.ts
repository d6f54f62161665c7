/** A text with its middle left out when it has more than `max` characters: what clients send may be of any length. */
export function clip(text: string, max: number): string {
  if (text.length <= max) return text;
  const half = Math.floor((max - 5) / 2);
  return `${text.slice(0, half)} […] ${text.slice(-half)}`.toWellFormed();
}
