/** @file Buffers, sizes and layouts of random kernels: permuted, strided, flipped, shifted, broadcast. */
import type { DType, TypedArray } from '../../../src/core/dtype.ts'
import type { Axis, ExprBuilder, Index, Size } from '../../../src/ir/expr.ts'
import type { BufferSpec } from '../../../src/ir/group.ts'
import type { Choices } from './choices.ts'
import { dataKinds, randomData, type DataKind } from './random-data.ts'

/** An axis and its extent, known when the kernel is built or not. */
export interface Sized {
  readonly axis: Axis
  readonly extent: number
}

/** An index with the number of elements that it needs. */
export interface Layout {
  readonly index: Index
  readonly length: number
}

export class Buffers {
  readonly specs: BufferSpec[] = []
  readonly arrays: TypedArray[] = []
  readonly sizes: number[] = []
  readonly #kinds = new Map<number, DataKind>()
  readonly #choices: Choices
  readonly #s: ExprBuilder
  /** Share of sizes that are handed over at launch. */
  readonly #symbolic: number

  constructor(choices: Choices, s: ExprBuilder) {
    this.#choices = choices
    this.#s = s
    this.#symbolic = choices.pick([0, 1, 0.5])
  }

  get isStatic(): boolean {
    return this.#symbolic === 0
  }

  size(value: number): Size {
    if (this.#symbolic === 0 || !this.#choices.chance(this.#symbolic)) return value
    const known = this.sizes.indexOf(value)
    if (known >= 0 && this.#choices.chance(0.5)) return { slot: known }
    return { slot: this.sizes.push(value) - 1 }
  }

  axis(extent: number): Sized {
    return { axis: this.#s.axis(this.size(extent)), extent }
  }

  /** Every position of these axes in a place of its own. */
  layout(axes: readonly Sized[]): Layout {
    const c = this.#choices
    const steps = new Map<Sized, number>()
    let length = c.chance(0.15) ? 2 + c.below(2) : 1
    for (const sized of c.chance(0.6) ? axes.toReversed() : c.shuffle(axes)) {
      steps.set(sized, length)
      length *= sized.extent
      if (c.chance(0.1)) length += c.below(3)
    }
    let offset = 0
    const terms = axes.map((sized) => {
      let stride = steps.get(sized)!
      if (c.chance(0.12) && sized.extent > 0) {
        offset += (sized.extent - 1) * stride
        stride = -stride
      }
      return { index: this.#s.at(sized.axis), stride: stride === 1 ? 1 : this.size(stride) }
    })
    if (c.chance(0.15)) {
      const more = 1 + c.below(5)
      offset += more
      length += more
    }
    return { index: { offset: offset === 0 ? 0 : this.size(offset), terms }, length }
  }

  add(dtype: DType, data: TypedArray, access: BufferSpec['access']): number {
    this.arrays.push(data)
    return this.specs.push({ dtype, access }) - 1
  }

  /** A buffer to read, new or one that is long enough. */
  reading(dtype: DType, length: number, kinds = dataKinds): number {
    const c = this.#choices
    const known = this.specs.findIndex(
      (spec, i) =>
        spec.access === 'read' &&
        spec.dtype === dtype &&
        this.arrays[i]!.length >= length &&
        kinds.includes(this.#kinds.get(i)!),
    )
    if (known >= 0 && c.chance(0.35)) return known
    const kind = c.pick(kinds)
    const made = this.add(dtype, randomData(dtype, length, kind, c.below(1 << 16)), 'read')
    this.#kinds.set(made, kind)
    return made
  }
}
