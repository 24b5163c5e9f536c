/** @file Gradients as functions: grad, valueAndGrad, gradients of given outputs, and custom gradient rules. */
import { checkOptions, GradError, ValueError } from '../util/errors.ts'
import { gradientsOf } from './backward.ts'
import { engine } from './engine.ts'
import { attach, standIn } from './attach.ts'
import { makeOp } from './op.ts'
import { unscoped } from './scope.ts'
import { enableGrad, isRecording, lastSequence, noGrad } from './tape.ts'
import { Tensor } from './tensor.ts'

export interface GradOptions {
  /** Which argument to differentiate by, or several; default 0. */
  readonly argument?: number | readonly number[]
  /**
   * Record the gradient computation, so that its result can be differentiated again. Default: whether
   * an argument itself requires a gradient, which makes `grad(grad(f))` work.
   */
  readonly createGraph?: boolean
}

/** A function of tensors (and anything else) with a one-element tensor as its result. */
type LossFunction<Args extends unknown[]> = (...args: Args) => Tensor

/**
 * The gradient of a function: a function of the same arguments that returns the derivative of its
 * one-element result with respect to the first argument (or those named by `options.argument`, then
 * as an array). Composes: the gradient of a gradient is the second derivative. Where the result does not
 * depend on the argument the gradient is zero. Throws a GradError when the result has several elements.
 *
 * @example
 * const f = (x: Tensor) => x.mul(x).mul(x).sum()
 * grad(f)(tensor([2])) // -> tensor([12], float32, cpu)
 * grad((x: Tensor) => grad(f)(x).sum())(tensor([2])) // -> tensor([12], float32, cpu)
 */
export function grad<Args extends unknown[]>(
  f: LossFunction<Args>,
  options?: GradOptions & { readonly argument?: number },
): (...args: Args) => Tensor
export function grad<Args extends unknown[]>(
  f: LossFunction<Args>,
  options: GradOptions & { readonly argument: readonly number[] },
): (...args: Args) => Tensor[]
export function grad<Args extends unknown[]>(
  f: LossFunction<Args>,
  options: GradOptions = {},
): (...args: Args) => Tensor | Tensor[] {
  const both = valueAndGrad(f, options as GradOptions & { readonly argument?: number })
  return (...args) => both(...args)[1]
}

/**
 * As `grad`, but returns the value too: [value, gradient].
 *
 * @example
 * const [value, slope] = valueAndGrad((x: Tensor) => x.mul(x).sum())(tensor([3]))
 * value.itemSync() // -> 9
 * slope // -> tensor([6], float32, cpu)
 */
export function valueAndGrad<Args extends unknown[]>(
  f: LossFunction<Args>,
  options?: GradOptions & { readonly argument?: number },
): (...args: Args) => [Tensor, Tensor]
export function valueAndGrad<Args extends unknown[]>(
  f: LossFunction<Args>,
  options: GradOptions & { readonly argument: readonly number[] },
): (...args: Args) => [Tensor, Tensor[]]
export function valueAndGrad<Args extends unknown[]>(
  f: LossFunction<Args>,
  options: GradOptions = {},
): (...args: Args) => [Tensor, Tensor | Tensor[]] {
  checkOptions('grad', options, ['argument', 'createGraph'])
  const { argument = 0 } = options
  const wanted = typeof argument === 'number' ? [argument] : [...argument]
  return (...args) => {
    const given = wanted.map((i) => {
      const x = args[i]
      if (x instanceof Tensor) return x
      throw new ValueError(
        `grad: argument ${i} is not a tensor but ${x === null ? 'null' : typeof x}. Name the arguments to differentiate by: { argument: [0, 2] }`,
      )
    })
    const createGraph = options.createGraph ?? (isRecording() && given.some((x) => x.requiresGrad))
    // Stand-ins, so that gradients stop at this call; they keep the way to the outer graph.
    const inputs = enableGrad(() => given.map(standIn))
    const since = lastSequence()
    const actual = [...args] as Args
    wanted.forEach((i, k) => (actual[i] = inputs[k]))
    const value = enableGrad(() => f(...actual))
    if (!(value instanceof Tensor))
      throw new ValueError(
        'grad: the function did not return a tensor. Return the loss itself, not its number',
      )
    // A result that does not depend on the argument has slope zero, as the third derivative of x^2 has.
    const gradients = value.requiresGrad
      ? gradientsOf([value], inputs, { createGraph, since })
      : inputs.map(() => undefined)
    const filled = gradients.map((g, k) => g ?? engine().zerosLike(given[k]!))
    return [
      createGraph ? value : value.detach(),
      typeof argument === 'number' ? filled[0]! : filled,
    ]
  }
}

/**
 * Gradients of one or more outputs with respect to given inputs, leaving every `.grad` alone
 * (PyTorch's `autograd.grad`). Inputs without influence give undefined.
 *
 * @example
 * const x = tensor([2]).requireGrad()
 * const y = x.mul(x).sum()
 * gradients([y], [x])[0] // -> tensor([4], float32, cpu)
 */
export function gradients(
  outputs: readonly Tensor[],
  inputs: readonly Tensor[],
  options: {
    /** Gradients of the outputs; default 1 for one-element outputs. */
    readonly gradients?: readonly (Tensor | undefined)[]
    readonly createGraph?: boolean
    readonly retainGraph?: boolean
  } = {},
): (Tensor | undefined)[] {
  checkOptions('gradients', options, ['gradients', 'createGraph', 'retainGraph'])
  for (const x of inputs)
    if (!x.requiresGrad)
      throw new GradError(
        'gradients: an input does not require a gradient. Call requireGrad() on it before computing the outputs',
      )
  return gradientsOf(outputs, inputs, options)
}

/** What a function given to `customGrad` returns. */
export interface CustomGradient {
  readonly value: Tensor
  /** Gradients for the inputs, in order, from the gradient of the value; one tensor when there is one input. */
  readonly gradient: (g: Tensor) => Tensor | readonly (Tensor | undefined)[]
}

/**
 * A function with a gradient rule of its own. `f` computes the value (nothing in it is recorded) and
 * says how gradients come back.
 *
 * @example
 * const identityWithHalfGradient = customGrad((x) => ({ value: x, gradient: (g) => g.mul(0.5) }))
 * grad((x: Tensor) => identityWithHalfGradient(x).sum())(tensor([1, 2])) // -> tensor([0.5, 0.5], float32, cpu)
 */
export function customGrad(
  f: (...inputs: Tensor[]) => CustomGradient,
): (...inputs: Tensor[]) => Tensor {
  return (...inputs) => {
    const { value, gradient } = noGrad(() => f(...inputs.map((x) => x.detach())))
    const output = value.detach()
    if (!isRecording() || !inputs.some((x) => x.requiresGrad)) return output
    const op = makeOp({
      name: 'customGrad',
      kind: 'elementwise',
      onnx: undefined,
      infer: () => [],
      lower: () => [],
      saves: 'none',
      vjp({ g }) {
        // The rule is user code: it may keep what it makes.
        g.storage.saves++
        const result = unscoped(() => gradient(g))
        const list = result instanceof Tensor ? [result] : result
        if (list.length !== inputs.length)
          throw new GradError(
            `customGrad: the gradient rule gave ${list.length} gradients for ${inputs.length} inputs. Return one per input, undefined where there is none`,
          )
        return list
      },
    })
    attach(op, inputs, output)
    return output
  }
}
