/**
 * Reads the flat XML that object stores answer with, without entities of its own, and writes text into such. Pure.
 */

const named: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

/** The contents of all elements with this name, none inside of another, as XML. */
export function* elements(xml: string, name: string): Generator<string> {
  const open = new RegExp(`<${name}(?:\\s[^<>]*)?(/?)>`, 'g');
  const close = `</${name}>`;
  for (let found = open.exec(xml); found !== null; found = open.exec(xml)) {
    if (found[1] === '/') {
      yield '';
      continue;
    }
    const end = xml.indexOf(close, open.lastIndex);
    if (end < 0) return;
    yield xml.slice(open.lastIndex, end);
    open.lastIndex = end + close.length;
  }
}

/** The text of the first element with this name; undefined when there is none. */
export function text(xml: string, name: string): string | undefined {
  for (const content of elements(xml, name)) return plain(content);
  return undefined;
}

function plain(content: string): string {
  return content.replace(/&(?:#x([0-9a-fA-F]{1,6})|#([0-9]{1,7})|(\w{1,8}));/g, (all, hex, decimal, name) => {
    if (name !== undefined) return named[name] ?? all;
    const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
    return code <= 0x10ffff ? String.fromCodePoint(code) : all;
  });
}

/** Text as the content of an element. */
export function escapeXml(content: string): string {
  return content.replace(/[&<>"']/g, (each) => {
    const name = Object.keys(named).find((key) => named[key] === each);
    return `&${name};`;
  });
}
