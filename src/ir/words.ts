/** @file Dot products of the small numbers in words of 32 bits, made of rows that every target has. */
import type { Expr, ExprBuilder } from './expr.ts'

/** c + a0 b0 + a1 b1, two bfloat16 in each word. */
export function dotBf16(s: ExprBuilder, a: Expr, b: Expr, c: Expr): Expr {
  const low = (x: Expr) => s.bitcast(s.shl(x, 16), 'f32')
  const high = (x: Expr) => s.bitcast(s.and(x, s.const('i32', 0xffff0000 | 0)), 'f32')
  return s.add(c, s.fma(high(a), high(b), s.mul(low(a), low(b))))
}

/** c + a0 b0 + ... + a3 b3, four unsigned bytes in one word, four signed ones in the other. */
export function dotU8S8(s: ExprBuilder, a: Expr, b: Expr, c: Expr): Expr {
  const unsigned = (i: number) => s.and(s.ushr(a, i), 0xff)
  const signed = (i: number) => s.shr(s.shl(b, 24 - i), 24)
  return [0, 8, 16, 24].reduce((sum, i) => s.add(sum, s.mul(unsigned(i), signed(i))), c)
}
