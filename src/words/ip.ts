/**
 * Tells addresses of IP by their texts, as `isIP` of node:net does. That one's regular expressions take a thread ten
 * milliseconds to compile. Pure.
 */

const decimal = /^(?:0|[1-9]\d{0,2})$/;
const group = /^[0-9A-Fa-f]{1,4}$/;
const zone = /%[0-9A-Za-z\-.:]+$/;

/** The family of an address, 4 or 6; 0 for a text that is none. */
export function ipFamily(text: string): 0 | 4 | 6 {
  if (isV4(text)) return 4;
  return text.includes(':') && isV6(text.replace(zone, '')) ? 6 : 0;
}

function isV4(text: string): boolean {
  const parts = text.split('.');
  return parts.length === 4 && parts.every((part) => decimal.test(part) && Number(part) < 256);
}

function isV6(text: string): boolean {
  const halves = text.split('::');
  if (halves.length > 2) return false;
  let count = 0;
  for (const [i, half] of halves.entries()) {
    const groups = half === '' ? [] : half.split(':');
    const last = groups.at(-1);
    // The last two may be written as an address of IPv4.
    if (i === halves.length - 1 && last?.includes('.')) {
      if (!isV4(last)) return false;
      groups.pop();
      count += 2;
    }
    if (!groups.every((each) => group.test(each))) return false;
    count += groups.length;
  }
  return halves.length === 2 ? count < 8 : count === 8;
}
