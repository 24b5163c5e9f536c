/** @file Which tiles are worth a try for a product: the results are the same with each of them. */
import type { ExprBuilder } from '../ir/expr.ts'
import type { Group, Tile } from '../ir/group.ts'
import { canonicalize } from './canonical.ts'
import { lanesOf, rankTiles } from './contract-blocks.ts'
import { planDot } from './contract-dot.ts'
import { matchContraction } from './contract-pattern.ts'
import { panelsInPlace } from './contract-source.ts'
import { fillsTiles } from './lower.ts'
import { favourable } from './lower-contract.ts'
import type { TargetTraits } from './target-traits.ts'

const mostChoices = 8
/** What runs out may be rows or vectors: tiles of several widths are tried. */
const mostOfOneWidth = 3

/** The tiles to choose from, the one that lowering would take first; none for what is no product. */
export function tileChoices(
  s: ExprBuilder,
  group: Group,
  specialize: boolean | 'round',
  traits: TargetTraits,
): readonly Tile[] {
  const matched = matchContraction(s, canonicalize(s, group, specialize).group, traits)
  if (matched === undefined || !fillsTiles(matched) || group.lanes !== undefined) return []
  const c = favourable(s, matched, traits)
  const usesDot = planDot(s, c, traits) !== undefined
  const lanes = lanesOf(c, traits)
  // What lies in panels is read where it lies, and only by tiles as wide as they are.
  const readsPanels = ({ vectors }: Tile) =>
    !usesDot && panelsInPlace(c.b, c.type, vectors * lanes) !== undefined
  const ranked = rankTiles(c, traits)
  const usual = readsPanels(ranked[0]!)
  const ofWidth = new Map<number, number>()
  return ranked
    .filter((tile) => {
      if (readsPanels(tile) !== usual) return false
      const count = (ofWidth.get(tile.vectors) ?? 0) + 1
      ofWidth.set(tile.vectors, count)
      return count <= mostOfOneWidth
    })
    .slice(0, mostChoices)
}
