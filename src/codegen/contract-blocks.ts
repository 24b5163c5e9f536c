/** @file Chooses the blocks of a contraction from the sizes of caches and registers. */
import type { Axis } from '../ir/expr.ts'
import type { Tile } from '../ir/group.ts'
import type { Contraction } from './contract-pattern.ts'
import type { TargetTraits } from './target-traits.ts'

/** Extents of the blocks, in elements, all known when the kernel is built: they bound the scratch space. */
export interface Blocks {
  /** The register tile. */
  readonly tileRows: number
  readonly tileColumns: number
  /** The part of B under a tile, of this depth, stays in the first-level cache. */
  readonly depth: number
  /** A block of A of this many rows stays in the second-level cache. */
  readonly rows: number
  readonly columns: number
  /** Rows of one task: B is packed once for all of them. */
  readonly taskRows: number
}

/** Shallower blocks would pass partial sums on too often, though a panel of B then outgrows the first cache. */
export const leastDepth = 384

/**
 * Depths are cut at multiples of this: the unrolling of the tile, the blocks of transposed packing, and
 * the windows of `taps` steps that are copied as wholes.
 */
export const depthUnit = (taps: number): number => {
  let unit = 16
  while (unit % taps !== 0) unit += 16
  return unit
}

/** Limits that depend on how operands and partial sums are kept. */
export interface Layout {
  /** B lies in long rows: the tile touches whole cache lines and uses parts of them. */
  readonly isSheet: boolean
  /** Steps of the depth that belong together. */
  readonly taps: number
  /** B is written run by run, all columns of a row before the next: its block should stay in the second cache. */
  readonly comesInRuns: boolean
  /** Partial sums of a whole task are kept in scratch space. */
  readonly keepsPartials: boolean
  /** How many depths a word of a panel holds. */
  readonly depthsInWord: number
}

export function chooseBlocks(c: Contraction, traits: TargetTraits, layout: Layout): Blocks {
  const bytes = c.type === 'f64' ? 8 : 4
  const { l1Bytes, l2Bytes } = traits
  const { tileRows, tileColumns } = tileOf(c, traits)
  // Blocks of depth decide in which order sums are added: a tile that was asked for leaves them as they are.
  const usualColumns = tileOf({ ...c, tile: undefined }, traits).tileColumns
  const fit = (wanted: number, unit: number, axes: readonly Axis[]) =>
    Math.max(unit, Math.min(down(wanted, unit), up(extentOf(axes), unit)))
  const perDepth = bytes / layout.depthsInWord
  const underTile = layout.isSheet ? Math.max(64, usualColumns * bytes) : usualColumns * perDepth
  const least = leastDepth * layout.depthsInWord
  const depth = fit(Math.max(least, l1Bytes / 2 / underTile), depthUnit(layout.taps), c.depth)
  const rows = fit(l2Bytes / 4 / (depth * perDepth), tileRows, c.rows)
  const wide = layout.comesInRuns ? l2Bytes / 2 : 2 * l2Bytes
  const columns = fit(
    layout.keepsPartials ? 256 : wide / (depth * perDepth),
    tileColumns,
    c.columns,
  )
  const taskRows = layout.keepsPartials ? rows : down(1024, tileRows)
  return { tileRows, tileColumns, depth, rows, columns, taskRows }
}

/** The register tile of a contraction: the one asked for, or the most promising one. */
export function tileOf(
  c: Contraction,
  traits: TargetTraits,
): Pick<Blocks, 'tileRows' | 'tileColumns'> {
  const tile = c.tile ?? rankTiles(c, traits)[0]!
  return { tileRows: tile.rows, tileColumns: tile.vectors * lanesOf(c, traits) }
}

/** How many numbers of a contraction a vector holds. */
export const lanesOf = ({ type }: Contraction, { vectorBytes }: TargetTraits): number =>
  vectorBytes / (type === 'f64' ? 8 : 4)

/**
 * The tiles of the target, the most promising first: that covers rows x columns for the least. Each step of a
 * tile takes as long as it has sums (or loads, of A one by one), and a little more. Of sides that are not
 * known, every tile covers the same share.
 */
export function rankTiles(c: Contraction, traits: TargetTraits): readonly Tile[] {
  const lanes = lanesOf(c, traits)
  const [rows, columns] = [extentOf(c.rows), extentOf(c.columns)]
  const covered = (extent: number, unit: number) =>
    Number.isFinite(extent) ? up(extent, unit) / extent : 1
  const price = (tile: Tile) => {
    const sums = tile.rows * tile.vectors
    const waste = covered(rows, tile.rows) * covered(columns, tile.vectors * lanes)
    const loads = tile.rows + tile.vectors
    return (waste * (Math.max(sums, loads) + stepOverhead)) / sums
  }
  return traits.tiles.toSorted((a, b) => price(a) - price(b))
}

/** What a step of a tile costs beside its sums: loads of B that nothing hides, the loop. */
const stepOverhead = 2

/** How many positions axes have together, as far as that is known when the kernel is built. */
export function extentOf(axes: readonly Axis[]): number {
  return axes.reduce((n, { extent }) => n * (typeof extent === 'number' ? extent : Infinity), 1)
}

const down = (x: number, unit: number) => Math.floor(x / unit) * unit
const up = (x: number, unit: number) => Math.ceil(x / unit) * unit
