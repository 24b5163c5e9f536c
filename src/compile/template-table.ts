/** @file Recordings that serve all sizes of their dynamic axes. */
import type { Shape } from '../core/shape.ts'
import { AxisSizes, type DynamicAxes } from './dynamic-axes.ts'
import { formOfCall, holds, type Known, type RecordedCall } from './record-call.ts'
import { templateOf, type Template } from './template.ts'
import type { Assumption } from './trace.ts'
import type { Tree } from './tree.ts'

/** Says that a call is traced, and gives what traces it, once or more, at shapes. */
export type BeginTrace = (
  tree: Tree,
  form: string,
  known: readonly Known[],
) => (shapes: readonly Shape[], room?: number) => RecordedCall

/** Templates of one function beyond this many: the one not used for longest goes. */
const templateLimit = 32

/** A program this long, of a function whose sizes are stand-ins, is taken for a loop over one of them. */
const longestTemplate = 100_000

/** The templates of one function. */
export class TemplateTable {
  readonly #name: string
  readonly #begin: BeginTrace
  readonly #known: (Known & { readonly template: Template<RecordedCall> })[] = []

  constructor(name: string, begin: BeginTrace) {
    this.#name = name
    this.#begin = begin
  }

  /** The recording of a call, for its sizes; undefined if none of its axes is dynamic. */
  at(tree: Tree, dynamicAxes: DynamicAxes | undefined): RecordedCall | undefined {
    if (dynamicAxes === undefined) return undefined
    const where = `compile: ${this.#name}`
    const paths = tree.paths.map((path) => path.replace(/^argument\[(\d+)\]/, '$1'))
    const places = tree.tensors.map(({ shape }, i) => ({ shape, path: paths[i]! }))
    const axes = new AxisSizes(where, dynamicAxes, places)
    if (axes.names.length === 0) return undefined
    const shapesAt = <T>(sizes: readonly T[]) =>
      tree.tensors.map(({ shape }, i) => axes.shape(i, shape, sizes))
    const form = formOfCall(tree, shapesAt(axes.names))
    const found = this.#known.findIndex((x) => x.form === form && holds(x))
    if (found >= 0) {
      const known = this.#known.splice(found, 1)[0]!
      this.#known.push(known)
      return known.template.at(axes.sizes)
    }
    const run = this.#begin(tree, form, this.#known)
    let assumptions: readonly Assumption[] | undefined
    const record = (sizes: readonly number[]) => {
      const recorded = run(shapesAt(sizes), longestTemplate)
      assumptions ??= recorded.traced.assumptions
      return recorded
    }
    const template = templateOf(where, axes.names, record, {
      what: 'this call',
      record: () => run(shapesAt(axes.sizes)),
    })
    this.#known.push({ form, assumptions: assumptions!, template })
    if (this.#known.length > templateLimit) this.#known.shift()
    return template.at(axes.sizes)
  }
}
