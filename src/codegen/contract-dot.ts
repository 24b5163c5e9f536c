/** @file Contractions of small numbers: several depths of a line in one word of 32 bits, multiplied by one instruction. */
import type { DType } from '../core/dtype.ts'
import type { Expr, ExprBuilder } from '../ir/expr.ts'
import type { Value } from '../ir/loops.ts'
import { wayToRead, type Range, type Way } from './contract-access.ts'
import { extentOf } from './contract-blocks.ts'
import type { Contraction } from './contract-pattern.ts'
import type { Emitter } from './emitter.ts'
import type { TargetTraits } from './target-traits.ts'

/**
 * Note [Dots]: panels of a dot hold words instead of elements: a pair of bfloat16 or four bytes that
 * follow one another along the depth, the first in the lowest bits. Depths past the end are zero in A,
 * so that they count nothing. A step of the tile takes a word of each line, and lanes stay 32 bits wide.
 *
 * Bytes are multiplied unsigned by signed. Where both operands are of one kind, the sign bits of B are
 * turned over while it is packed, which moves it by 128 into the other kind, and sums start at what
 * that is too much or too little: 128 times the sum of a line of A. All of it is exact modulo 2^32.
 *
 * Products of bfloat16 are exact and summed in float32, but in pairs, and a target may flush what is
 * subnormal: results differ from a sum of single products as those of another order would.
 */
export interface Dot {
  readonly op: 'dotBf16' | 'dotU8S8'
  /** Depths in a word. */
  readonly depths: 2 | 4
  /** Which operand the row takes first: of bytes, the unsigned one. */
  readonly first: 'a' | 'b'
  /** Whether the sign bits of B are turned over. */
  readonly movesB: boolean
}

/** How a contraction multiplies words: the row, and how the operands are packed for it. */
export interface DotPlan extends Dot {
  readonly words: { readonly a: Words; readonly b: Words }
  /** Of a register. */
  readonly lanes: number
  readonly ways: { readonly a: Way | undefined; readonly b: Way | undefined }
}

/** How an operand is put into words. */
export interface Words {
  readonly depths: 2 | 4
  /** What the word is xored with at the end. */
  readonly flip: number
  /** The depth is a multiple of those in a word. */
  readonly isEven: boolean
}

/** The dot that sums products of these two, or undefined when the target or the operands have none. */
export function dotOf(a: Expr, b: Expr, traits: TargetTraits): Dot | undefined {
  if (a.kind !== 'load' || b.kind !== 'load') return undefined
  const lanes = traits.vectorBytes / 4
  if (a.dtype === 'bfloat16' && b.dtype === 'bfloat16') {
    if (!traits.spells('dotBf16', 'f32', lanes)) return undefined
    return { op: 'dotBf16', depths: 2, first: 'a', movesB: false }
  }
  if (!isByte(a.dtype) || !isByte(b.dtype)) return undefined
  // What a guard leaves out has to be a byte, too.
  if (Number(a.otherwise) !== 0 || Number(b.otherwise) !== 0) return undefined
  if (!traits.spells('dotU8S8', 'i32', lanes)) return undefined
  const first = a.dtype === 'uint8' ? 'a' : 'b'
  return { op: 'dotU8S8', depths: 4, first, movesB: a.dtype === b.dtype }
}

/** The dot of a contraction, where there is one and its operands are packed for it without much ado. */
export function planDot(s: ExprBuilder, c: Contraction, traits: TargetTraits): DotPlan | undefined {
  const dot = dotOf(c.a.value, c.b.value, traits)
  if (dot === undefined) return undefined
  const ways = { a: wayToRead(s, c.a, traits), b: wayToRead(s, c.b, traits) }
  // Element by element, words cost more than they are worth, but for bytes there is nothing better.
  const isQuick = (way: Way | undefined) =>
    way && (way.along === 'depth' ? !way.bounds : way.isSimple)
  if (dot.op === 'dotBf16' && !(isQuick(ways.a) && isQuick(ways.b))) return undefined
  const { depths } = dot
  const plain = { depths, flip: 0, isEven: extentOf(c.depth) % depths === 0 }
  const words = { a: plain, b: { ...plain, flip: dot.movesB ? signs : 0 } }
  return { ...dot, words, ways, lanes: traits.vectorBytes / 4 }
}

const isByte = (dtype: DType): boolean => dtype === 'int8' || dtype === 'uint8'

/** The values of one line at consecutive depths as a word. */
export function joinWord(b: Emitter, { depths, flip }: Words, values: readonly Value[]): Value {
  const or = (x: Value, y: Value) => b.op('or', [x, y])
  // A widened bfloat16 has its bits in the upper half.
  if (depths === 2) return or(b.op('ushr', [values[0]!, b.int(16)]), values[1]!)
  const word = values
    .map((x, i) => {
      const byte = i === 3 ? x : b.op('and', [x, b.int(0xff)])
      return i === 0 ? byte : b.op('shl', [byte, b.int(8 * i)])
    })
    .reduce(or)
  return flip === 0 ? word : b.op('xor', [word, b.int(flip)])
}

/** How many steps a range of depths takes: one for each word, or for each depth. */
export function wordCount(b: Emitter, { begin, end }: Range, words: Words | undefined): Value {
  const size = b.sub(end, begin)
  if (words === undefined) return size
  const { depths } = words
  return b.op('div', [words.isEven ? size : b.add(size, depths - 1), b.int(depths)])
}

/** The bits of an element, as `joinWord` takes them. */
export const bitsOf = (b: Emitter, value: Value): Value =>
  value.type === 'f32' ? b.op('bitcast', [value], 'i32') : value

/** The sign bits of four bytes. */
export const signs = 0x80808080 | 0

/** One step of sums: products of words added to what is there. */
export function dotStep(b: Emitter, dot: Dot, a: Value, line: Value, sum: Value): Value {
  return b.op(dot.op, dot.first === 'a' ? [a, line, sum] : [line, a, sum])
}

/** Adds a word of lines of A to what is gathered for their first sums. */
export function sumLines(b: Emitter, dot: Dot, a: Value, sum: Value): Value {
  return b.op(dot.op, dot.first === 'a' ? [a, b.int(0x01010101), sum] : [b.int(signs), a, sum])
}

/** What sums start at where B was moved: 128 times the sum of a line of A is added, or taken away if A is signed. */
export function firstSum(b: Emitter, dot: Dot, gathered: Value): Value {
  return dot.first === 'a' ? b.op('shl', [gathered, b.int(7)]) : b.op('neg', [gathered])
}
