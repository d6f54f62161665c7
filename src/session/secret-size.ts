/** Largest secret, as BuildKit has it: 500 KiB. */
export const maxSecretSize = 500 * 1024;
