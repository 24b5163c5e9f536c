/** @file The table of vector and mask instructions: one row per mnemonic. */
import { convertOps } from './x86-ops-convert.ts'
import { floatOps } from './x86-ops-float.ts'
import { integerOps } from './x86-ops-integer.ts'
import { moveOps } from './x86-ops-move.ts'
import { maskOps, shuffleOps } from './x86-ops-shuffle.ts'
import type { VectorRow } from './x86-vector-row.ts'

/** A suffix behind a dot tells apart what Intel gives one name: `.k`, `.x`, `.kr` ... are not printed. */
export const vectorOps = {
  ...moveOps,
  ...floatOps,
  ...integerOps,
  ...convertOps,
  ...shuffleOps,
  ...maskOps,
}

export type VectorOp = keyof typeof vectorOps

/** The same table for keys that are not known to be in it. */
export const vectorRows: Readonly<Record<VectorOp, VectorRow>> = vectorOps
