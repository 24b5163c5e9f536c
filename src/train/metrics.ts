/** @file Metrics: how well a model does, in numbers for people. */
import { isFloat } from '../core/dtype.ts'
import { sameShape } from '../core/shape.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, ShapeError, ValueError } from '../util/errors.ts'
import type { Part } from './averages.ts'
import { likeOutput, positions, type OutputKind } from './losses.ts'

/** A mean over the data: each batch gives the sum of its values and how many they are. */
export interface Metric {
  /** Key in logs and history. */
  readonly name: string
  measure(output: Tensor, target: Tensor): Part
}

/** From output and target to the mean over a batch. */
export type MetricFunction = (output: Tensor, target: Tensor) => Tensor

/** Names that `compile` understands. */
export type MetricName = keyof typeof metricsByName

/** A name, a metric, or a function, which goes by its own name. */
export type MetricChoice = MetricName | Metric | MetricFunction

export interface ThresholdOptions {
  /** Outputs above it mean yes. Default 0.5. */
  readonly threshold?: number
}

const metricsByName = {
  accuracy: (threshold: number) => new Accuracy({ threshold }),
  topKAccuracy: () => new TopKAccuracy(),
  precision: (threshold: number) => new Precision({ threshold }),
  recall: (threshold: number) => new Recall({ threshold }),
  meanSquaredError: () => new MeanSquaredError(),
  meanAbsoluteError: () => new MeanAbsoluteError(),
}

/** The metrics that choices stand for; `kind` decides where yes begins. */
export function metricsFor(choices: readonly MetricChoice[], kind: OutputKind): Metric[] {
  const metrics = choices.map((choice): Metric => {
    if (typeof choice === 'function') return fromFunction(choice)
    if (typeof choice === 'object' && choice !== null && typeof choice.measure === 'function')
      return choice
    if (typeof choice === 'string' && Object.hasOwn(metricsByName, choice))
      return metricsByName[choice](kind === 'scores' ? 0 : 0.5)
    throw new ValueError(
      `compile: unknown metric ${typeof choice === 'string' ? `'${choice}'` : `of type ${typeof choice}`}. Expected one of ${Object.keys(metricsByName).join(', ')}, a metric, or a function (output, target) => mean`,
    )
  })
  const names = ['loss', ...metrics.map(({ name }) => name)]
  const double = names.find((name, i) => names.indexOf(name) !== i)
  if (double !== undefined)
    throw new ValueError(`compile: two values are called '${double}'. Give metrics different names`)
  return metrics
}

/**
 * The share of right answers. As in Keras the shapes decide what that means: the highest output is the
 * class position in the target; or, for targets of the outputs' shape, the position of the highest
 * target; or, where there is one output, output and target are on the same side of the threshold.
 *
 * @example
 * const { total, count } = new Accuracy().measure(tensor([[2, 1], [0, 3]]), tensor([0, 0], { dtype: 'int32' }))
 * total.itemSync() / count // -> 0.5
 */
export class Accuracy implements Metric {
  readonly name: string = 'accuracy'
  readonly #threshold: number

  constructor(options: ThresholdOptions = {}) {
    this.#threshold = checkThreshold('Accuracy', options)
  }

  measure(output: Tensor, target: Tensor): { total: Tensor; count: number } {
    const right = this.#right(output, target)
    return { total: right.sum(), count: right.size }
  }

  #right(output: Tensor, target: Tensor): Tensor {
    if (output.ndim < 2 || output.shape.at(-1) === 1) {
      const yes = likeOutput(output, target)
      return output.gt(this.#threshold).eq(yes.gt(0.5))
    }
    const found = output.argmax({ axis: -1 })
    if (sameShape(output.shape, target.shape)) return found.eq(target.argmax({ axis: -1 }))
    return found.eq(classes('Accuracy', output, target))
  }
}

/**
 * The share of examples whose class is among the k with the highest outputs. Targets are class
 * positions. Throws a ValueError unless k is a whole number above 0.
 *
 * @example
 * const outputs = tensor([[3, 2, 1], [3, 2, 1]])
 * const { total } = new TopKAccuracy({ k: 2 }).measure(outputs, tensor([1, 2], { dtype: 'int32' }))
 * total.itemSync() // -> 1
 */
export class TopKAccuracy implements Metric {
  readonly name: string
  readonly #k: number

  constructor(options: { readonly k?: number } = {}) {
    checkOptions('TopKAccuracy', options, ['k'])
    const { k = 5 } = options
    if (!Number.isInteger(k) || k < 1)
      throw new ValueError(`TopKAccuracy: k is ${String(k)}. Expected a whole number above 0`)
    this.#k = k
    this.name = `top${k}Accuracy`
  }

  measure(output: Tensor, target: Tensor): { total: Tensor; count: number } {
    const labels = classes('TopKAccuracy', output, target)
    const own = output.gather(output.ndim - 1, labels.unsqueeze(-1))
    const better = output.gt(own).sum({ axis: -1 })
    return { total: better.lt(this.#k).sum(), count: labels.size }
  }
}

/**
 * Of the examples called positive, the share that is: how far a yes can be trusted.
 *
 * @example
 * const { total, count } = new Precision().measure(tensor([0.9, 0.8, 0.1]), tensor([1, 0, 1]))
 * total.itemSync() / count.itemSync() // -> 0.5
 */
export class Precision implements Metric {
  readonly name: string = 'precision'
  readonly #threshold: number

  constructor(options: ThresholdOptions = {}) {
    this.#threshold = checkThreshold('Precision', options)
  }

  measure(output: Tensor, target: Tensor): { total: Tensor; count: Tensor } {
    const called = output.gt(this.#threshold)
    return { total: called.mul(likeOutput(output, target).gt(0.5)).sum(), count: called.sum() }
  }
}

/**
 * Of the positive examples, the share that is called so: how much is missed.
 *
 * @example
 * const { total, count } = new Recall().measure(tensor([0.9, 0.8, 0.1]), tensor([1, 0, 1]))
 * total.itemSync() / count.itemSync() // -> 0.5
 */
export class Recall implements Metric {
  readonly name: string = 'recall'
  readonly #threshold: number

  constructor(options: ThresholdOptions = {}) {
    this.#threshold = checkThreshold('Recall', options)
  }

  measure(output: Tensor, target: Tensor): { total: Tensor; count: Tensor } {
    const positive = likeOutput(output, target).gt(0.5)
    return { total: positive.mul(output.gt(this.#threshold)).sum(), count: positive.sum() }
  }
}

/**
 * The mean of the squared differences.
 *
 * @example
 * new MeanSquaredError().measure(tensor([1, 2]), tensor([1, 4])).total // -> tensor(4, float32, cpu)
 */
export class MeanSquaredError implements Metric {
  readonly name: string = 'meanSquaredError'

  measure(output: Tensor, target: Tensor): { total: Tensor; count: number } {
    const difference = output.sub(likeOutput(output, target))
    return { total: difference.mul(difference).sum(), count: difference.size }
  }
}

/**
 * The mean of the differences without their sign.
 *
 * @example
 * new MeanAbsoluteError().measure(tensor([1, 2]), tensor([1, 4])).total // -> tensor(2, float32, cpu)
 */
export class MeanAbsoluteError implements Metric {
  readonly name: string = 'meanAbsoluteError'

  measure(output: Tensor, target: Tensor): { total: Tensor; count: number } {
    const difference = output.sub(likeOutput(output, target)).abs()
    return { total: difference.sum(), count: difference.size }
  }
}

function fromFunction(compute: MetricFunction): Metric {
  const name = compute.name || 'metric'
  return {
    name,
    measure(output, target) {
      const count = target.shape[0] ?? 1
      const mean = compute(output, target)
      if (mean?.size !== 1)
        throw new ShapeError(
          `${name}: the metric gave ${mean === undefined ? 'nothing' : `shape [${mean.shape.join(', ')}]`}. Expected the mean over the batch, a tensor with one element`,
        )
      return { mean, count }
    },
  }
}

function classes(name: string, output: Tensor, target: Tensor): Tensor {
  const labels = positions(output, target)
  if (!isFloat(labels.dtype) && sameShape(labels.shape, output.shape.slice(0, -1))) return labels
  throw new ShapeError(
    `${name}: output [${output.shape.join(', ')}] and target [${target.shape.join(', ')}] do not fit. Expected class positions [${output.shape.slice(0, -1).join(', ')}] or a target of the output's shape`,
  )
}

function checkThreshold(name: string, options: ThresholdOptions): number {
  checkOptions(name, options, ['threshold'])
  const { threshold = 0.5 } = options
  if (typeof threshold === 'number' && !Number.isNaN(threshold)) return threshold
  throw new ValueError(`${name}: threshold is ${String(threshold)}. Expected a number`)
}
