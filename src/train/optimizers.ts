/** @file Optimizers by name, as compile takes them. */
import type { Module } from '../nn/module.ts'
import { Adagrad, Adam, AdamW, Optimizer, RMSprop, SGD } from '../optim/index.ts'
import type { Parameter } from '../tensor/cell.ts'
import { ValueError } from '../util/errors.ts'

/** Names that `compile` understands. */
export type OptimizerName = keyof typeof optimizers

/** A name, a name with options such as `{ name: 'adam', lr: 1e-4 }`, or an optimizer over the model's parameters. */
export type OptimizerChoice =
  | OptimizerName
  | ({ readonly name: OptimizerName; readonly lr?: number } & Readonly<Record<string, unknown>>)
  | Optimizer

/** Learning rates are Keras', which for all but sgd are PyTorch's too. */
const optimizers = {
  adam: (parameters, options) => new Adam(parameters, options),
  adamw: (parameters, options) => new AdamW(parameters, options),
  sgd: (parameters, options) => new SGD(parameters, { lr: 0.01, ...options }),
  rmsprop: (parameters, options) => new RMSprop(parameters, { lr: 0.001, ...options }),
  adagrad: (parameters, options) => new Adagrad(parameters, { lr: 0.001, ...options }),
} satisfies Record<string, (parameters: Parameter[], options: object) => object>

/** The optimizer a choice stands for. Throws a ValueError that lists the names for an unknown one. */
export function optimizerFor(choice: OptimizerChoice, module: Module): Optimizer {
  if (choice instanceof Optimizer) return choice
  const { name, ...options } = typeof choice === 'string' ? { name: choice } : (choice ?? {})
  if (typeof name !== 'string' || !Object.hasOwn(optimizers, name))
    throw new ValueError(
      `compile: unknown optimizer ${typeof name === 'string' ? `'${name}'` : `of type ${typeof choice}`}. Expected one of ${Object.keys(optimizers).join(', ')}, { name, lr }, or an optimizer`,
    )
  const make: (parameters: Parameter[], options: object) => unknown = optimizers[name]
  return make(module.parameters(), options) as Optimizer
}
