/** @file The keys of a JSON object as written: their order, and whether one is there twice. */

/**
 * Finds what JSON.parse hides: it silently keeps the last of two equal keys, and moves keys that
 * look like numbers to the front.
 *
 * @param text a JSON object that JSON.parse has already accepted; nothing is checked here.
 * @returns the outermost object's keys in the order written, and the first key that any object in
 *   the text, at any depth, has twice.
 * @example
 * jsonKeys('{"b": 1, "1": {"x": 2, "x": 3}}').keys // -> ['b', '1']
 * jsonKeys('{"b": 1, "1": {"x": 2, "x": 3}}').duplicate // -> 'x'
 */
export function jsonKeys(text: string): { keys: string[]; duplicate: string | undefined } {
  // One set of keys per open object, undefined per open list.
  const open: (Set<string> | undefined)[] = []
  let outermost = new Set<string>()
  let duplicate: string | undefined
  for (let i = 0; i < text.length; i++) {
    const char = text[i]
    if (char === '{') open.push(new Set())
    else if (char === '[') open.push(undefined)
    else if (char === ']') open.pop()
    else if (char === '}') outermost = open.pop() ?? outermost
    else if (char === '"') {
      const start = i
      i = closingQuote(text, start)
      if (!isFollowedByColon(text, i)) continue
      const key = JSON.parse(text.slice(start, i + 1)) as string
      const keys = open.at(-1)
      if (keys?.has(key)) duplicate ??= key
      keys?.add(key)
    }
  }
  return { keys: [...outermost], duplicate }
}

function closingQuote(text: string, start: number): number {
  let i = start + 1
  while (i < text.length && text[i] !== '"') i += text[i] === '\\' ? 2 : 1
  return i
}

function isFollowedByColon(text: string, quote: number): boolean {
  let i = quote + 1
  while (text[i] === ' ' || text[i] === '\n' || text[i] === '\r' || text[i] === '\t') i++
  return text[i] === ':'
}
