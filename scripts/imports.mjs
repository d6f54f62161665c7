/** Reads what a TypeScript file imports and exports: by its text, formatted as `npm run format` does it. */

/** The text with comments blanked out, line breaks kept. */
function withoutComments(text) {
  return text.replace(
    /("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`)|\/\*[\s\S]*?\*\/|(?<=^|[\s;,{}()])\/\/[^\n]*/g,
    (all, string) => string ?? all.replace(/[^\n]/g, ' '),
  );
}

/** Names in the braces of an import or export: `a`, `type B`, `c as d`. */
export function namesIn(list) {
  return list
    .split(',')
    .map((each) => each.trim())
    .filter((each) => each !== '')
    .map((each) => {
      const [name, as = name] = each.replace(/^type\s+/, '').split(/\s+as\s+/);
      return { name, as, type: /^type\s/.test(each) };
    });
}

const lineOf = (code, index) => code.slice(0, index).split('\n').length;

/**
 * The imports of a file, and its exports from others: `from`, `line`, `names` (undefined for all of them) and those of them that are `values`, whether only
 * `types`, whether `lazy`: only when called.
 */
export function importsOf(text) {
  const code = withoutComments(text);
  const statement =
    /^[ \t]*(?<kind>import|export)\b(?<type>\s+type\b)?(?<what>[^;'"]*?\bfrom\s*)?\s*['"](?<from>[^'"]+)['"]|\bimport\s*\(\s*['"](?<lazy>[^'"]+)['"]\s*\)/gm;
  return [...code.matchAll(statement)].map((match) => {
    const { kind, type, what, from, lazy } = match.groups;
    const list = /\{([^}]*)\}/.exec(what ?? '')?.[1];
    const named = list === undefined ? undefined : namesIn(list);
    const hasDefault = /^\s*[\w$]+\s*,/.test(what ?? '');
    const types = type !== undefined || (named?.every((each) => each.type) === true && !hasDefault);
    return {
      from: from ?? lazy,
      line: lineOf(code, match.index),
      names: named?.map(({ name }) => name),
      values: named?.filter((each) => !each.type).map(({ name }) => name),
      isExport: kind === 'export',
      types,
      lazy: lazy !== undefined,
    };
  });
}

/** What a file exports: name → line. What it hands on whole (`export *`) is not among it. */
export function exportsOf(text) {
  const code = withoutComments(text);
  const found = new Map();
  const declared =
    /^export\s+(?:declare\s+)?(?:abstract\s+)?(?:async\s+)?(?:function\*?|class|const|let|interface|type|enum)\s+([\w$]+)/gm;
  for (const match of code.matchAll(declared)) found.set(match[1], lineOf(code, match.index));
  for (const match of code.matchAll(/^export\s+(?:type\s+)?\{([^}]*)\}/gm)) {
    for (const { as } of namesIn(match[1])) found.set(as, lineOf(code, match.index));
  }
  return found;
}
