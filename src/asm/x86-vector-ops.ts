/** @file The table of vector and mask instructions: one row per mnemonic. */
import { convertOps } from './x86-ops-convert.ts'
import { floatOps } from './x86-ops-float.ts'
import { integerOps } from './x86-ops-integer.ts'
import { moveOps } from './x86-ops-move.ts'
import { maskOps, shuffleOps } from './x86-ops-shuffle.ts'
import { misuse } from './x86-operand.ts'
import { readForms, type Forms, type VectorRow } from './x86-vector-row.ts'

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

const known = new Map<VectorOp, VectorRow>()

/** The row of an instruction. */
export function vectorRow(op: VectorOp): VectorRow {
  let found = known.get(op)
  if (found === undefined) {
    const forms: Forms | undefined = vectorOps[op]
    if (forms === undefined) misuse(`there is no instruction ${String(op)}`)
    known.set(op, (found = readForms(forms)))
  }
  return found
}
