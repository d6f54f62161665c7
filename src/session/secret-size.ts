/** The largest secret, as in BuildKit: 500 KiB. */
export const maxSecretSize = 500 * 1024;
