/** @file Random programs: small functions of tensors, by a seed, that can be made smaller. */
import { gradients, tensor, type DType, type Tensor } from 'tandem'
import * as nn from 'tandem/nn'
import { isFloat } from '../../src/core/dtype.ts'
import { sizeOf } from '../../src/core/shape.ts'
import { Random } from '../../scripts/random-op.ts'
import { rows, type Chooser, type Row } from './random-rows.ts'

/** One operation; its numbers, from 0 to 1, choose operands and options among what there is. */
export interface Step {
  readonly name: string
  readonly picks: readonly number[]
}

/** What is left of a program when steps are taken out of it is a program. */
export interface RandomProgram {
  readonly seed: number
  readonly steps: readonly Step[]
  /** Whether it computes gradients of its results, too. */
  readonly hasGradients: boolean
}

export interface ProgramOptions {
  /** Only operations that small changes change a little, for comparisons within a tolerance. */
  readonly gentle?: boolean
}

const tables = { all: { ...rows.gentle, ...rows.rough }, gentle: rows.gentle }

/** The program of a seed. */
export function randomProgram(
  seed: number,
  { gentle = false }: ProgramOptions = {},
): RandomProgram {
  const random = new Random(seed)
  const names = [...Object.keys(gentle ? tables.gentle : tables.all), 'assign']
  const step = () => ({
    name: random.pick(names),
    picks: Array.from({ length: 12 }, () => random.next()),
  })
  const steps = Array.from({ length: random.whole(3, 14) }, step)
  return { seed, steps, hasGradients: seed % 4 === 0 }
}

/** What a program is run on. */
export interface ProgramData {
  readonly inputs: readonly Tensor[]
  readonly constants: readonly Tensor[]
  readonly buffers: readonly nn.Buffer[]
}

/** Tensors for a program, the same for the same seed. */
export function programData({ seed }: RandomProgram, device: string, gentle = false): ProgramData {
  const random = new Random(seed ^ 0x5eed)
  const kinds: DType[] = ['float32', 'float32', 'float16', 'int32', 'int8', 'bool', 'float64']
  const special = gentle ? [0, 1, -1] : [0, -0, 1, -128, NaN, Infinity, -Infinity, 1e-30, 3e38]
  const make = (): Tensor => {
    const shape = Array.from({ length: random.whole(0, 4) }, () => random.pick([1, 2, 3, 4]))
    const dtype = random.pick(kinds)
    const values = Array.from({ length: sizeOf(shape) }, () =>
      random.chance(0.1) ? random.pick(special) : Math.round((random.next() - 0.5) * 64) / 8,
    )
    const whole = values.map((x) => (Number.isFinite(x) ? Math.trunc(x) : 0))
    const isWhole = dtype === 'int32' || dtype === 'int8' || dtype === 'bool'
    return tensor(isWhole ? whole : values, { dtype: isWhole ? 'int32' : dtype, device })
      .cast(dtype)
      .reshape(shape)
  }
  return {
    inputs: [make(), make(), make()],
    constants: [make(), make()],
    buffers: [new nn.Buffer(make()), new nn.Buffer(make())],
  }
}

/** Runs a program, eagerly or under a tracer: its last values, and perhaps gradients of these for the inputs. */
export function runProgram(
  { steps, hasGradients }: RandomProgram,
  inputs: readonly Tensor[],
  { constants, buffers }: Pick<ProgramData, 'constants' | 'buffers'>,
): Tensor[] {
  const leaves = inputs.map((t) =>
    hasGradients && isFloat(t.dtype) ? t.detach().requireGrad() : t,
  )
  const values: Tensor[] = [...constants, ...buffers.map((b) => b.detach()), ...leaves]
  for (const { name, picks } of steps) {
    const choose = new Picks(values, picks)
    if (name === 'assign') assign(choose, buffers)
    else {
      const row: Row = (tables.all as Record<string, Row>)[name]!
      const made = row(choose)
      if (made !== undefined) values.push(made)
    }
  }
  const results = values.slice(-3)
  const roots = results.filter((t) => t.requiresGrad).map((t) => t.cast('float32').sum())
  const wanted = leaves.filter((t) => t.requiresGrad)
  const found = roots.length === 0 ? [] : gradients(roots, wanted)
  return [...results.map((t) => t.detach()), ...found.filter((t) => t !== undefined)]
}

function assign(choose: Chooser, buffers: readonly nn.Buffer[]): void {
  const buffer = choose.pick(buffers)
  const fits = (t: Tensor) => t.dtype === buffer.dtype && t.shape.join() === buffer.shape.join()
  const value = choose.find(fits)
  if (value !== undefined) buffer.assign(value.detach())
}

class Picks implements Chooser {
  readonly #values: readonly Tensor[]
  readonly #picks: readonly number[]
  #next = 0

  constructor(values: readonly Tensor[], picks: readonly number[]) {
    this.#values = values
    this.#picks = picks
  }

  next(): number {
    return this.#picks[this.#next++ % this.#picks.length]!
  }

  pick<T>(choices: readonly T[]): T {
    return choices[Math.floor(this.next() * choices.length)]!
  }

  value(): Tensor {
    return this.find(() => true)!
  }

  find(condition: (t: Tensor) => boolean): Tensor | undefined {
    const fitting = this.#values.filter(condition)
    // The square: three of four times from the later half.
    return fitting[fitting.length - 1 - Math.floor(this.next() ** 2 * fitting.length)]
  }
}

/** Takes steps out as long as the program still fails. */
export function shrinkProgram(
  program: RandomProgram,
  fails: (program: RandomProgram) => boolean,
): RandomProgram {
  let smallest = program
  for (let i = program.steps.length - 1; i >= 0; i--) {
    const without = { ...smallest, steps: smallest.steps.filter((_, k) => k !== i) }
    if (fails(without)) smallest = without
  }
  return smallest
}
