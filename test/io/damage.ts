/** @file Places in a document where something can be put wrong. */

// A document whose parts are changed as they like.
// oxlint-disable-next-line no-explicit-any
export type Loose = any

/** Every value inside of a document that holds no others: where it is, and the keys on the way. */
export function leaves(
  holder: Loose,
  path: readonly string[] = [],
): { holder: Loose; key: string; path: readonly string[] }[] {
  return Object.keys(holder).flatMap((key) =>
    typeof holder[key] === 'object' && holder[key] !== null
      ? leaves(holder[key], [...path, key])
      : [{ holder, key, path }],
  )
}
