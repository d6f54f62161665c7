/** Signatures of images, as cosign makes and verifies them. It is loaded late: few commands need it. */
export { ambientToken, parseIdentityToken, tokenOrFile } from './identity-token.ts';
export { keyText, readSmallFile } from './key-source.ts';
export { readPrivateKey, readPublicKeys } from './keys.ts';
export type { SignerChoice } from './make-bundle.ts';
export { servicesOf } from './options.ts';
export { Services } from './services.ts';
export { signImage } from './sign-image.ts';
export { exactly, identitySigner, keySigner, matching } from './signers.ts';
export { publicRoot, readTrustedRoot } from './trusted-root.ts';
export { type Verified, verifyImage, type WantedSigner } from './verify-image.ts';
