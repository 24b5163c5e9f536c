/** @file Chooses how a group is lowered: tiles for contractions, a loop nest for everything else. */
import type { ExprBuilder } from '../ir/expr.ts'
import type { Group } from '../ir/group.ts'
import type { Kernel } from '../ir/loops.ts'
import { lowerNest } from './lower-nest.ts'
import type { TargetTraits } from './target-traits.ts'

/** One kernel in loop form for a group. */
export function lowerGroup(s: ExprBuilder, group: Group, traits: TargetTraits): Kernel {
  return lowerNest(s, group, traits)
}
