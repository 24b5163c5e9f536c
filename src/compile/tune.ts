/** @file Tiles of products and convolutions, chosen by timing them on the machine. */
import type { Backend, Block, Choices, Executable } from '../backend/backend.ts'
import { canonicalize } from '../codegen/canonical.ts'
import { tileChoices } from '../codegen/tile-choices.ts'
import type { Tile } from '../ir/group.ts'
import { debug } from '../util/config.ts'
import { UnsupportedError } from '../util/errors.ts'
import type { Schedule, Scheduled, ScheduledKernel } from './schedule.ts'

/** A tile that was the fastest. */
export interface TunedTile {
  readonly tile: Tile
  /** Of how many. */
  readonly choices: number
}

/** The time that each of several ways to compute the same takes, in any unit. */
export type Measure = (runs: readonly (() => void)[]) => readonly number[]

/** How tiles are timed, and where it is kept which were fast. */
export interface Tuning {
  readonly measure: Measure
  readonly choices: Choices
}

/**
 * Note [Tuning]: which tile of a product is the fastest depends on more than `rankTiles` knows. With
 * `tune: true` the most promising ones are compiled and run on zeros with the sizes, threads and places
 * of operands of the program, in turns, so that a busy moment of the machine is bad luck for all of them.
 *
 * A tile decides which sums are computed together, not in which order each is added: that is the blocks
 * of depth, which stay as they are (`chooseBlocks`). So the choice changes no bit of a result. It is made
 * after weights have got their layout (Note [Prepacking]): of panels that lie ready, tiles have the width.
 * The tile is part of the group, so that it reaches the kernel's key and with it the code that is kept.
 */
export function tuneTiles(
  schedule: Schedule,
  backend: Backend,
  tuning: Tuning,
): { readonly schedule: Schedule; readonly tiles: ReadonlyMap<number, TunedTile> } {
  const tiles = new Map<number, TunedTile>()
  const kernels = schedule.kernels.map((kernel, i): Scheduled => {
    if (!('step' in kernel)) return kernel
    const { step, specialize = false } = kernel
    const choices = tileChoices(step.s, step.group, specialize, backend.traits!)
    if (choices.length < 2) return kernel
    const at = knownOrTimed(kernel, choices, schedule.buffers, backend, tuning)
    const tile = choices[at]!
    tiles.set(i, { tile, choices: choices.length })
    // What lowering chooses by itself is the same kernel as without tuning.
    return at === 0 ? kernel : withTile(kernel, tile)
  })
  return { schedule: { ...schedule, kernels }, tiles }
}

/** How to tune for a backend. Throws an UnsupportedError for one that has nothing to choose. */
export function tuningFor({ name, choices, traits }: Backend): Tuning {
  if (choices !== undefined && traits !== undefined) return { measure: timeInTurns, choices }
  throw new UnsupportedError(
    `compile: tune: the ${name} backend has no tiles to choose from, only cpu has. Leave tune out, or compute on cpu: setBackend('cpu')`,
  )
}

/** Another tile than the usual one has to be faster by this: less is noise. */
const leastGain = 0.02

function knownOrTimed(
  kernel: ScheduledKernel,
  choices: readonly Tile[],
  buffers: Schedule['buffers'],
  backend: Backend,
  { measure, choices: kept }: Tuning,
): number {
  const { step, specialize = false } = kernel
  const { key, sizes } = canonicalize(step.s, step.group, specialize)
  const name = `${key}|${sizes.join()}|${backend.numThreads ?? 1} threads`
  const known = kept.get(name)
  const at = choices.findIndex((tile) => textOf(tile) === known)
  if (at >= 0) return at
  const times = timesOf(kernel, choices, buffers, backend, measure)
  const best = times.indexOf(Math.min(...times))
  const chosen = times[best]! < times[0]! * (1 - leastGain) ? best : 0
  debug(1, () => {
    const list = choices.map((tile, i) => `${textOf(tile)}: ${times[i]!.toPrecision(3)}`)
    return `compile: ${step.group.name} in tiles of ${textOf(choices[chosen]!)}, in ms of ${list.join(', ')}`
  })
  kept.set(name, textOf(choices[chosen]!))
  return chosen
}

/** Runs the kernel with each of the tiles, on memory of its own. */
function timesOf(
  kernel: ScheduledKernel,
  choices: readonly Tile[],
  buffers: Schedule['buffers'],
  backend: Backend,
  measure: Measure,
): readonly number[] {
  const { operands, specialize = false } = kernel
  const blocks = new Map<number, Block>()
  const made: Executable[] = []
  try {
    for (const { buffer } of operands) {
      if (blocks.has(buffer)) continue
      const bytes = buffers[buffer]!.bytes
      const block = backend.allocate(bytes)
      blocks.set(buffer, block)
      // Positions are among what is read: those of zeros are within bounds.
      backend.write(block, new Uint8Array(bytes))
    }
    const places = operands.map(({ buffer }) => blocks.get(buffer)!)
    const offsets = operands.map(({ offset }) => offset)
    const params = kernel.params.map((x) => (typeof x === 'number' ? x : 1))
    const runs = choices.map((tile) => {
      const { s, group } = withTile(kernel, tile).step
      const { group: ready, sizes } = canonicalize(s, group, specialize)
      const executable = backend.compile(s, ready)
      made.push(executable)
      return () => void executable.launch(places, offsets, sizes, params)
    })
    return measure(runs)
  } finally {
    for (const executable of made) executable.release?.()
    for (const block of blocks.values()) backend.free(block)
  }
}

const withTile = (kernel: ScheduledKernel, tile: Tile): ScheduledKernel => {
  const { s, group } = kernel.step
  return { ...kernel, step: { s, group: { ...group, tile } } }
}

const textOf = ({ rows, vectors }: Tile) => `${rows}x${vectors}`

// -- the clock

/** Milliseconds that all runs of a kernel may take together, and those of one reading of the clock at least. */
const most = 1000
const least = 0.3
const rounds = 12

/** The shortest time of each, in milliseconds, of several rounds in which each has its turn. */
const timeInTurns: Measure = (runs) => {
  const begin = performance.now()
  const timed = (run: () => void, count: number) => {
    const from = performance.now()
    for (let i = 0; i < count; i++) run()
    return (performance.now() - from) / count
  }
  const isOver = () => performance.now() - begin > most
  // The first run starts threads, touches memory and loads code. Of kernels that take long it has to do.
  const first = runs.map((run) => (isOver() ? Infinity : timed(run, 1)))
  if (isOver()) return first
  const times = [...first]
  const count = Math.max(1, Math.ceil(least / Math.min(...first)))
  for (let round = 0; round < rounds && !isOver(); round++)
    for (const [i, run] of runs.entries()) times[i] = Math.min(times[i]!, timed(run, count))
  return times
}
