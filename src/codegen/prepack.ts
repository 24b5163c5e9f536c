/** @file Products whose operand B could lie in panels before they run: which, and how it would lie. */
import type { Axis, ExprBuilder } from '../ir/expr.ts'
import { rootsOf, visitAll, type Group } from '../ir/group.ts'
import { canonicalize } from './canonical.ts'
import { tileOf } from './contract-blocks.ts'
import { planDot } from './contract-dot.ts'
import { matchContraction, type Contraction } from './contract-pattern.ts'
import { panelsInPlace } from './contract-source.ts'
import { fillsTiles } from './lower.ts'
import { strideOf } from './merge-axes.ts'
import type { TargetTraits } from './target-traits.ts'

/** Elements of a buffer, as the tile of a product reads them: panels of `width` columns, step by step along the depth. */
export interface Panels {
  /** Of the group. */
  readonly buffer: number
  readonly columns: Axis
  readonly depth: Axis
  readonly width: number
  /** Where an element lies in the buffer as it is: what columns and depth are multiplied with, and the beginning. */
  readonly strides: { readonly columns: number; readonly depth: number }
  readonly offset: number
}

/** The panels of operand B of a product; undefined where the group is none, or has to prepare B as it runs. */
export function wantedPanels(
  s: ExprBuilder,
  group: Group,
  specialize: boolean | 'round',
  traits: TargetTraits,
): Panels | undefined {
  const c = matchContraction(s, group, traits)
  const { group: ready } = canonicalize(s, group, specialize)
  const known = matchContraction(s, ready, traits)
  if (!c || !known || !fillsTiles(known) || planDot(s, known, traits)) return undefined
  if (group.lanes !== undefined) return undefined
  const { value } = c.b
  const [columns, depth] = [c.columns[0]!, c.depth[0]!]
  if (c.batch.length > 0 || c.columns.length !== 1 || c.depth.length !== 1) return undefined
  if (value.kind !== 'load' || value.guard !== undefined || !isReadOnce(group, value.buffer))
    return undefined
  const { index, buffer } = value
  // The operand has its own axes, merged; the group's load has those of the group.
  const [own, summed] = [c.b.own[0]!, c.b.summed[0]!]
  const strides = { columns: strideOf(index, own), depth: strideOf(index, summed) }
  const { offset } = index
  const { tileColumns: width } = tileOf(known, traits)
  if (index.terms.length !== 2 || !areNumbers(strides) || typeof offset !== 'number')
    return undefined
  if ((columns.extent as number) % width !== 0) return undefined
  return { buffer, columns, depth, width, strides, offset }
}

/** Whether the kernel of a group reads operand B where it lies, in panels. */
export function readsPanels(
  s: ExprBuilder,
  group: Group,
  specialize: boolean | 'round',
  traits: TargetTraits,
): boolean {
  const c = matchContraction(s, canonicalize(s, group, specialize).group, traits)
  return c !== undefined && fillsTiles(c) && lieInPanels(s, c, traits)
}

const lieInPanels = (s: ExprBuilder, c: Contraction, traits: TargetTraits) =>
  !planDot(s, c, traits) && panelsInPlace(c.b, c.type, tileOf(c, traits).tileColumns) !== undefined

function isReadOnce(group: Group, buffer: number): boolean {
  let loads = 0
  visitAll(rootsOf(group), (e) => {
    if (e.kind === 'load' && e.buffer === buffer) loads++
  })
  return loads === 1
}

const areNumbers = (x: {
  columns: unknown
  depth: unknown
}): x is { columns: number; depth: number } =>
  typeof x.columns === 'number' && typeof x.depth === 'number'
