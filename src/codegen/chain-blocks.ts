/** @file Chooses the blocks of a chain of contractions from the sizes of caches and registers. */
import type { Tile } from '../ir/group.ts'
import type { Chain } from './chain-pattern.ts'
import { extentOf } from './contract-blocks.ts'
import type { TargetTraits } from './target-traits.ts'

/** Extents of the blocks, in elements. */
export interface ChainBlocks {
  readonly tileRows: number
  readonly tileColumns: number
  /** Rows of one task: what runs along the depth is packed once for all of them. */
  readonly rows: number
  /** Rows whose points are there at once: those of a tile, or of several where something is summed over them. */
  readonly groupRows: number
  /** The points of a group of rows stay in cache for this much of the depth. */
  readonly depth: number
}

/** Sums and columns longer than this would not leave room for anything else. */
const longest = 512

/** Whether the scratch space of a chain is bounded: its sums and columns are known, and not too long. */
export function isBounded({ scores, products, across }: Chain): boolean {
  const extents = [
    ...scores.map(({ a }) => extentOf(a.summed)),
    ...[...products, ...across].map(({ column }) => extentOf([column])),
  ]
  return extents.every((extent) => extent <= longest)
}

export function chooseChainBlocks(c: Chain, traits: TargetTraits): ChainBlocks {
  const bytes = c.type === 'f64' ? 8 : 4
  const { l1Bytes, l2Bytes } = traits
  const lanes = traits.vectorBytes / bytes
  const columns = [...c.products, ...c.across].map(({ column }) => extentOf([column]))
  const tile = chooseTile(traits.tiles, lanes, extentOf([c.rows]), columns)
  const tileRows = tile.rows
  const tileColumns = tile.vectors * lanes
  // What is packed for each point of the depth, and what is packed and summed for each row.
  const sums = c.scores.reduce((n, { a }) => n + extentOf(a.summed), 0)
  const width = bytes * (sums + columns.reduce((n, extent) => n + up(extent, tileColumns), 0))
  const fit = (wanted: number, unit: number, extent: number) =>
    Math.max(unit, Math.min(down(wanted, unit), up(extent, unit)))
  const groupRows = c.across.length > 0 ? fit(groupOfRows, tileRows, extentOf([c.rows])) : tileRows
  const sheets = bytes * groupRows * Math.max(c.scores.length, c.factors.length)
  const room = groupRows > tileRows ? l2Bytes / 8 : l1Bytes
  const depth = Math.min(room / sheets, l2Bytes / 4 / width)
  return {
    tileRows,
    tileColumns,
    groupRows,
    rows: fit(Math.min(mostRows, l2Bytes / 4 / width), groupRows, extentOf([c.rows])),
    depth: fit(depth, tileColumns, extentOf([c.depth])),
  }
}

/** Sums over the rows of a group come and go once for all of them. */
const groupOfRows = 64

/** Enough for packing to be little beside the products; more would leave threads without tasks. */
const mostRows = 128

// As for a single contraction, but that the scores' columns run along the depth, which is long. A is
// packed by transposing, most often: rows that fill half a vector at least are packed as vectors.
function chooseTile(
  tiles: readonly Tile[],
  lanes: number,
  rows: number,
  columns: readonly number[],
): Tile {
  const covered = (extent: number, unit: number) =>
    Number.isFinite(extent) ? up(extent, unit) / extent : 1
  const price = (tile: Tile) => {
    const sums = tile.rows * tile.vectors
    const step = Math.max(sums, tile.rows + tile.vectors) + 2
    const perSum = (step / sums) * covered(rows, tile.rows)
    const wasted = columns.map((extent) => covered(extent, tile.vectors * lanes))
    return perSum * wasted.reduce((x, y) => x + y, wasted.length)
  }
  const tall = tiles.filter((tile) => 2 * tile.rows >= lanes)
  const candidates = tall.length > 0 ? tall : tiles
  return candidates.reduce((best, tile) => (price(tile) < price(best) ? tile : best))
}

const down = (x: number, unit: number) => Math.floor(x / unit) * unit
const up = (x: number, unit: number) => Math.ceil(x / unit) * unit
