/** @file Chooses how a group is lowered: tiles for contractions and chains of them, squares for transposes, a loop nest for everything else. */
import type { ExprBuilder } from '../ir/expr.ts'
import type { Group } from '../ir/group.ts'
import type { Kernel } from '../ir/loops.ts'
import { isBounded } from './chain-blocks.ts'
import { matchChain } from './chain-pattern.ts'
import { extentOf } from './contract-blocks.ts'
import { matchContraction, type Contraction } from './contract-pattern.ts'
import { planAlong } from './along-pattern.ts'
import { lowerAlong } from './lower-along.ts'
import { lowerChain } from './lower-chain.ts'
import { lowerContract } from './lower-contract.ts'
import { lowerNest } from './lower-nest.ts'
import { lowerTranspose } from './lower-transpose.ts'
import type { TargetTraits } from './target-traits.ts'
import { matchTranspose } from './transpose-pattern.ts'

/** One kernel in loop form for a group. */
export function lowerGroup(s: ExprBuilder, group: Group, traits: TargetTraits): Kernel {
  const contraction = matchContraction(s, group, traits)
  if (contraction && fillsTiles(contraction)) {
    const plan = planAlong(s, group, contraction, traits)
    return plan
      ? lowerAlong(s, group, contraction, plan, traits)
      : lowerContract(s, group, contraction, traits)
  }
  const chain = matchChain(s, group)
  if (chain && isBounded(chain)) return lowerChain(s, group, chain, traits)
  const transpose = matchTranspose(s, group, traits)
  if (transpose) return lowerTranspose(s, group, transpose, traits)
  return lowerNest(s, group, traits)
}

// A side known to be thin leaves most of a tile empty; one that is not known yet is taken to be wide.
export function fillsTiles({ rows, columns, depth }: Contraction): boolean {
  return extentOf(rows) >= 3 && extentOf(columns) >= 3 && extentOf(depth) >= 2
}
