/** Licences as SPDX writes them. https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/ */

/** The identifiers of SPDX's list that packages use most; others are quoted as texts. */
const known = new Set(
  `0BSD AFL-2.1 AFL-3.0 AGPL-3.0 AGPL-3.0-only AGPL-3.0-or-later Apache-1.1 Apache-2.0 Artistic-1.0 Artistic-1.0-Perl
  Artistic-2.0 BlueOak-1.0.0 BSD-1-Clause BSD-2-Clause BSD-3-Clause BSD-4-Clause BSL-1.0 bzip2-1.0.6 CC-BY-3.0 CC-BY-4.0
  CC-BY-SA-3.0 CC-BY-SA-4.0 CC0-1.0 CDDL-1.0 CDDL-1.1 curl ECL-2.0 EPL-1.0 EPL-2.0 EUPL-1.2 FTL GFDL-1.1-only
  GFDL-1.1-or-later GFDL-1.2-only GFDL-1.2-or-later GFDL-1.3-only GFDL-1.3-or-later GPL-1.0-only GPL-1.0-or-later GPL-2.0
  GPL-2.0-only GPL-2.0-or-later GPL-3.0 GPL-3.0-only GPL-3.0-or-later HPND ICU IJG ISC LGPL-2.0-only LGPL-2.0-or-later LGPL-2.1
  LGPL-2.1-only LGPL-2.1-or-later LGPL-3.0 LGPL-3.0-only LGPL-3.0-or-later libpng-2.0 Libpng MIT MIT-0 MPL-1.1 MPL-2.0
  NCSA NTP OFL-1.1 OpenSSL PHP-3.01 PostgreSQL PSF-2.0 Python-2.0 Ruby SISSL TCL Unicode-3.0 Unicode-DFS-2016 Unlicense
  UPL-1.0 Vim W3C WTFPL X11 Zlib ZPL-2.1`.split(/\s+/),
);
const exceptions = /\b(with|WITH) [A-Za-z0-9.-]+(-exception)\b/g;

/** Whether a text is an expression of known identifiers, which can stand as it is. */
function isExpression(text: string): boolean {
  const words = text.replaceAll(exceptions, '').replaceAll(/[()]/g, ' ').trim().split(/\s+/);
  // Identifiers and the words between them take turns.
  return (
    words.every((word, i) => (i % 2 === 0 ? known.has(word) : word === 'AND' || word === 'OR')) &&
    words.length % 2 === 1
  );
}

/** A package's licences, each as it can stand in an expression or, where it cannot, as a text. Empty: none is told. */
export function licenseParts(
  license: string | readonly string[] | undefined,
): { text: string; known: boolean }[] {
  const all = license === undefined ? [] : [license].flat();
  return all.map((text) => {
    const known = isExpression(text);
    const mixed = known && all.length > 1 && / (AND|OR) /.test(text);
    return { text: mixed ? `(${text})` : text, known };
  });
}
