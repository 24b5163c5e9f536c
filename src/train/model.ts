/** @file Model: compile, fit, evaluate and predict over any module. */
import { Module } from '../nn/module.ts'
import type { Optimizer } from '../optim/index.ts'
import type { Shape } from '../core/shape.ts'
import { cat } from '../ops/join.ts'
import { noGrad } from '../tensor/tape.ts'
import { Tensor } from '../tensor/tensor.ts'
import { checkOptions, ValueError } from '../util/errors.ts'
import { Averages, type Part } from './averages.ts'
import {
  batchesOf,
  datasetOf,
  inputAndTarget,
  isInput,
  loaderOver,
  splitOff,
  type Batches,
  type Data,
  type Input,
} from './batches.ts'
import type { Callback, Run } from './callback.ts'
import { compiledStep } from './compiled-step.ts'
import { checkFitOptions, type FitOptions } from './fit-options.ts'
import { History, type Logs } from './history.ts'
import { lossFunction, outputKind, type LossChoice, type LossFunction } from './losses.ts'
import { metricsFor, type Metric, type MetricChoice } from './metrics.ts'
import { optimizerFor, type OptimizerChoice } from './optimizers.ts'
import { ProgressBar, standardOutput } from './progress-bar.ts'

export interface CompileOptions {
  /** 'adam', 'sgd' ..., `{ name: 'adam', lr: 1e-4 }`, or an optimizer over the module's parameters. */
  readonly optimizer: OptimizerChoice
  /** 'sparseCategoricalCrossentropy', 'meanSquaredError' ..., a function, or a module. */
  readonly loss: LossChoice
  /** 'accuracy' ..., metrics, or functions. Default none. */
  readonly metrics?: readonly MetricChoice[]
  /**
   * Run steps operation by operation, for debugging and for modules whose code looks at the elements of
   * tensors; default false: steps are compiled, see `compile` of the main entry point.
   */
  readonly runEagerly?: boolean
}

export interface EvaluateOptions {
  /** Items per batch; default 32. Not for data that comes in batches. */
  readonly batchSize?: number
}

/** What is measured on a batch, by name. */
type Parts = Record<string, Part>

interface Compiled {
  readonly optimizer: Optimizer
  /** One step of training, and one of evaluation. */
  readonly train: (x: Input, y: Tensor) => Parts
  readonly test: (x: Input, y: Tensor) => Parts
  readonly predict: (x: Input) => Tensor
}

/** Means over an epoch or a batch: 'loss' and the metrics. */
export type Results = Logs & { loss: number }

/**
 * Trains and applies a module with a few words, as Keras does. It is the same engine as a loop written
 * by hand: with the same seed, `fit` gives the same losses to the last bit.
 *
 * @example
 * manualSeed(0)
 * const x = tensor([[0], [1], [2], [3]])
 * const model = new Model(new nn.Linear(1, 1))
 * model.compile({ optimizer: { name: 'sgd', lr: 0.1 }, loss: 'meanSquaredError' })
 * const { history } = await model.fit(x, x.mul(2).add(1), { epochs: 200, batchSize: 4, verbose: 0 })
 * history.loss.length // -> 200
 * const { loss } = await model.evaluate(x, x.mul(2).add(1))
 * loss < 0.001 // -> true
 */
export class Model<M extends Module = Module> {
  readonly module: M
  #compiled: Compiled | undefined
  /** Epochs trained so far: each has an order of its own, however often `fit` is called. */
  #epochsTrained = 0

  constructor(module: M) {
    if (!(module instanceof Module))
      throw new ValueError(
        `Model: expected a module, received ${typeof module}. Write new Model(new nn.Sequential(...))`,
      )
    this.module = module
  }

  /**
   * Chooses optimizer, loss and metrics. Classification losses take scores (logits), or probabilities
   * where the module is a Sequential that ends in Softmax or Sigmoid. Steps become programs, each traced
   * once for all sizes of a batch (`dynamicAxes` of `compile()`): the module sees a stand-in for the size.
   * With `runEagerly` it is called for each batch. Returns the model. Throws a ValueError for what it does
   * not know.
   */
  compile(options: CompileOptions): this {
    checkOptions('compile', options, ['optimizer', 'loss', 'metrics', 'runEagerly'])
    const kind = outputKind(this.module)
    const isBinary = options.loss === 'binaryCrossentropy'
    const loss = lossFunction(options.loss, kind)
    const metrics = metricsFor(options.metrics ?? [], isBinary ? kind : 'probabilities')
    const optimizer = optimizerFor(options.optimizer, this.module)
    const { runEagerly = false } = options
    this.#compiled = {
      optimizer,
      train: compiledStep('fit', runEagerly, (x, y) =>
        this.#trainStep(optimizer, loss, metrics, x, y),
      ),
      test: compiledStep('evaluate', runEagerly, (x, y) => this.#testStep(loss, metrics, x, y)),
      predict: compiledStep('predict', runEagerly, (x) => noGrad(() => this.#forward(x))),
    }
    this.#epochsTrained = 0
    return this
  }

  /** The optimizer that `compile` chose. */
  get optimizer(): Optimizer {
    return this.#ready('optimizer').optimizer
  }

  /**
   * Trains on tensors, a dataset or a loader, and gives the means of each epoch. Throws a ValueError
   * before `compile`, for unknown options, and for data that is not [x, y].
   */
  fit(x: Input, y: Tensor, options?: FitOptions): Promise<History>
  fit(data: Data, options?: FitOptions): Promise<History>
  async fit(
    data: Input | Data,
    second?: Tensor | FitOptions,
    third?: FitOptions,
  ): Promise<History> {
    const [y, options] = argumentsOf<FitOptions>(second, third)
    checkFitOptions(options)
    const compiled = this.#ready('fit')
    const { epochs = 1, initialEpoch = 0, callbacks = [], verbose = 'auto' } = options
    const first = options.initialEpoch ?? this.#epochsTrained
    const { training, validation } = trainingData(data, y, options, first)
    const run: Run = {
      model: this as unknown as Model,
      epochs,
      steps: training.length,
      stopTraining: false,
    }
    const history = new History()
    const all = [...progress(verbose), ...callbacks]
    const call = async (act: (callback: Callback) => void | Promise<void>) => {
      for (const callback of all) await act(callback)
    }
    await call((callback) => callback.onTrainBegin?.(run))
    for (let epoch = initialEpoch; epoch < epochs && !run.stopTraining; epoch++) {
      await call((callback) => callback.onEpochBegin?.(epoch, run))
      const logs: Logs = await this.#trainEpoch(compiled, training, run, all)
      this.#epochsTrained++
      if (validation !== undefined) {
        const results = await this.#measure(compiled, validation)
        for (const [name, value] of Object.entries(results)) logs[validationName(name)] = value
      }
      history.add(epoch, logs)
      await call((callback) => callback.onEpochEnd?.(epoch, logs, run))
    }
    await call((callback) => callback.onTrainEnd?.(run))
    return history
  }

  /** The means of loss and metrics over data, in evaluation mode. */
  evaluate(x: Input, y: Tensor, options?: EvaluateOptions): Promise<Results>
  evaluate(data: Data, options?: EvaluateOptions): Promise<Results>
  async evaluate(
    data: Input | Data,
    second?: Tensor | EvaluateOptions,
    third?: EvaluateOptions,
  ): Promise<Results> {
    const [y, options] = argumentsOf<EvaluateOptions>(second, third)
    checkOptions('evaluate', options, ['batchSize'])
    return this.#measure(this.#ready('evaluate'), batchesOf('evaluate', data, y, options))
  }

  /** What the module gives for inputs, in evaluation mode and without gradients; batch by batch, in one tensor. */
  async predict(x: Input, options: EvaluateOptions = {}): Promise<Tensor> {
    checkOptions('predict', options, ['batchSize'])
    if (!isInput(x))
      throw new ValueError(
        `predict: expected a tensor, received ${typeof x}. Of a dataset, pass the inputs only`,
      )
    const inputs = x instanceof Tensor ? [x] : x
    const count = inputs[0]!.shape[0] ?? 0
    const { batchSize = 32 } = options
    const outputs: Tensor[] = []
    for (let from = 0; from < Math.max(1, count); from += batchSize)
      outputs.push(await this.predictOnBatch(inputs.map((t) => t.slice([from, from + batchSize]))))
    return outputs.length === 1 ? outputs[0]! : cat(outputs)
  }

  /** One step on one batch. Gives its loss and metrics. */
  async trainOnBatch(x: Input, y: Tensor): Promise<Results> {
    return this.#single((averages) => averages.add(this.#ready('trainOnBatch').train(x, y)))
  }

  /** Loss and metrics of one batch, in evaluation mode. */
  async testOnBatch(x: Input, y: Tensor): Promise<Results> {
    const compiled = this.#ready('testOnBatch')
    return this.#single((averages) => this.#inMode(false, () => averages.add(compiled.test(x, y))))
  }

  /** What the module gives for one batch, in evaluation mode and without gradients. */
  async predictOnBatch(x: Input): Promise<Tensor> {
    const predict = this.#compiled?.predict ?? ((inputs) => noGrad(() => this.#forward(inputs)))
    return this.#inMode(false, () => predict(x))
  }

  /** A table of the layers; with shapes of inputs, or inputs, also of what they give. */
  summary(...inputs: readonly (Shape | Tensor)[]): string {
    return this.module.summary(...inputs)
  }

  // -- the engine

  async #trainEpoch(
    compiled: Compiled,
    { batches }: Batches,
    run: Run,
    callbacks: readonly Callback[],
  ): Promise<Results> {
    const averages = new Averages()
    const watchers = callbacks.filter((callback) => callback.onBatchEnd !== undefined)
    await this.#inMode(true, async () => {
      let batch = 0
      for await (const pair of batches) {
        const [x, y] = inputAndTarget('fit', pair)
        await averages.add(compiled.train(x, y))
        if (watchers.length > 0) {
          const logs = averages.values()
          for (const watcher of watchers) await watcher.onBatchEnd!(batch, logs, run)
          if (run.stopTraining) break
        }
        batch++
      }
      if (batch === 0) throw noData('fit')
    })
    await averages.settle()
    return averages.values() as Results
  }

  /**
   * Note [One engine]: this is the loop that PyTorch's users write, in its order, so that both agree to
   * the bit. It is compiled as it stands; gradients end with the step, so that nobody has to keep them.
   */
  #trainStep(
    optimizer: Optimizer,
    lossOf: LossFunction,
    metrics: readonly Metric[],
    x: Input,
    y: Tensor,
  ): Parts {
    optimizer.zeroGrad()
    const output = this.#forward(x)
    const loss = lossOf(output, y)
    loss.backward()
    const parts = partsOf(metrics, output, y, loss)
    optimizer.step()
    optimizer.zeroGrad()
    return parts
  }

  #testStep(loss: LossFunction, metrics: readonly Metric[], x: Input, y: Tensor): Parts {
    return noGrad(() => {
      const output = this.#forward(x)
      return partsOf(metrics, output, y, loss(output, y))
    })
  }

  async #measure(compiled: Compiled, { batches }: Batches): Promise<Results> {
    const averages = new Averages()
    await this.#inMode(false, async () => {
      let isEmpty = true
      for await (const batch of batches) {
        const [x, y] = inputAndTarget('evaluate', batch)
        await averages.add(compiled.test(x, y))
        isEmpty = false
      }
      if (isEmpty) throw noData('evaluate')
    })
    await averages.settle()
    return averages.values() as Results
  }

  async #single(step: (averages: Averages) => unknown): Promise<Results> {
    const averages = new Averages()
    await step(averages)
    await averages.settle()
    return averages.values() as Results
  }

  #forward(x: Input): Tensor {
    const forward = this.module.forward.bind(this.module) as (...inputs: Tensor[]) => unknown
    const output = x instanceof Tensor ? forward(x) : forward(...x)
    if (output instanceof Tensor) return output
    throw new ValueError(
      `Model: ${this.module.constructor.name}.forward returned a value of type ${typeof output}. Expected one tensor`,
    )
  }

  /** Runs `body` in training or evaluation mode; afterwards every part is in the mode it was in. */
  async #inMode<T>(training: boolean, body: () => T | Promise<T>): Promise<T> {
    const modules = this.module.modules()
    const before = modules.map((module) => module.training)
    this.module.train(training)
    try {
      return await body()
    } finally {
      modules.forEach((module, i) => (module.training = before[i]!))
    }
  }

  #ready(where: string): Compiled {
    if (this.#compiled !== undefined) return this.#compiled
    throw new ValueError(
      `${where}: the model is not compiled. Call model.compile({ optimizer: 'adam', loss: '...' }) first`,
    )
  }
}

function partsOf(
  metrics: readonly Metric[],
  output: Tensor,
  target: Tensor,
  loss: Tensor,
): Record<string, Part> {
  const count = target.shape[0] ?? 1
  return noGrad(() => ({
    loss: { mean: loss.detach(), count },
    ...Object.fromEntries(metrics.map((m) => [m.name, m.measure(output.detach(), target)])),
  }))
}

function trainingData(
  data: Input | Data,
  y: Tensor | undefined,
  options: FitOptions,
  epoch: number,
): { training: Batches; validation: Batches | undefined } {
  const { batchSize, validationSplit, validationData, shuffle = true, seed } = options
  const order = { batchSize, shuffle, seed, epoch }
  if (validationSplit !== undefined && validationSplit !== 0) {
    if (validationData !== undefined)
      throw new ValueError(
        'fit: validationSplit and validationData exclude each other. Give one of them',
      )
    const [train, held] = splitOff(datasetOf('fit', data, y), validationSplit)
    return { training: loaderOver(train, order), validation: loaderOver(held, { batchSize }) }
  }
  const isPair = Array.isArray(validationData) && isInput(validationData[0])
  const [vx, vy] = isPair ? inputAndTarget('fit', validationData) : [validationData as Data]
  return {
    training: batchesOf('fit', data, y, order),
    validation:
      validationData === undefined
        ? undefined
        : batchesOf('fit', vx, vy, { batchSize: vy === undefined ? undefined : batchSize }),
  }
}

function argumentsOf<O extends object>(
  second: Tensor | O | undefined,
  third: O | undefined,
): [y: Tensor | undefined, options: O] {
  return second instanceof Tensor ? [second, third ?? ({} as O)] : [undefined, second ?? ({} as O)]
}

function progress(verbose: NonNullable<FitOptions['verbose']>): Callback[] {
  if (verbose === 0 || (verbose === 'auto' && standardOutput() === undefined)) return []
  return [
    verbose === 'auto'
      ? new ProgressBar()
      : new ProgressBar({ live: verbose === 1 && standardOutput() !== undefined }),
  ]
}

/** 'accuracy' -> 'valAccuracy' */
const validationName = (name: string) => `val${name[0]!.toUpperCase()}${name.slice(1)}`

const noData = (where: string) =>
  new ValueError(`${where}: the data has no batches. Check that the dataset is not empty`)
