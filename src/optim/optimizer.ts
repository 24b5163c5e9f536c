/** @file What all optimizers share: parameter groups, checks, state, and the loop over parameters. */
import { formatShape, sameShape } from '../core/shape.ts'
import { zeros } from '../ops/create.ts'
import { Buffer, dropGrad, gradOf, owned, ownedAtOnce, Parameter } from '../tensor/cell.ts'
import { everyRun } from '../tensor/tracing.ts'
import { Tensor } from '../tensor/tensor.ts'
import { checkOptions, ValueError } from '../util/errors.ts'

/** What every optimizer can be told: the learning rate. */
export interface Hyperparameters {
  lr: number
}

/** Parameters that share their hyperparameters, which may be changed at any time. */
export type ParameterGroup<H extends Hyperparameters> = H & {
  readonly params: readonly Parameter[]
  /** The rate that schedules start from; set by the first of them. */
  initialLr?: number
}

/** Parameters, or groups of them with hyperparameters of their own. */
export type ParametersOrGroups<H> =
  Iterable<Parameter> | readonly ({ readonly params: Iterable<Parameter> } & Partial<H>)[]

/** What an optimizer remembers of one parameter. */
export interface ParameterState {
  /** Updates so far. */
  step: number
  readonly slots: Record<string, Buffer>
}

/** An optimizer as plain data and tensors; parameters are counted through all groups. */
export interface OptimizerState {
  readonly state: Readonly<
    Record<string, { readonly step: number; readonly slots: Readonly<Record<string, Tensor>> }>
  >
  readonly paramGroups: readonly (Readonly<Record<string, unknown>> & {
    readonly params: readonly number[]
  })[]
}

/**
 * Changes parameters by their gradients. Subclasses say how one parameter changes; see `SGD`.
 * Throws a ValueError for an empty list, for what is no Parameter, and for a rate that is no
 * non-negative number.
 *
 * @example
 * const w = new nn.Parameter(tensor([1, 2]))
 * const optimizer = new optim.SGD([w], { lr: 0.5 })
 * w.mul(w).sum().backward()
 * optimizer.step()
 * w // -> tensor([0, 0], float32, cpu, requiresGrad)
 * optimizer.zeroGrad()
 */
export abstract class Optimizer<H extends Hyperparameters = Hyperparameters> {
  /** The parameters with their hyperparameters. */
  readonly paramGroups: readonly ParameterGroup<H>[]
  readonly #state = new Map<Parameter, ParameterState>()

  constructor(params: ParametersOrGroups<H>, options: Partial<H>, defaults: H) {
    const name = new.target.name
    const known = Object.keys(defaults)
    checkOptions(name, options, known)
    const settings = { ...defaults, ...given(options) }
    this.paramGroups = groupsOf<H>(name, params).map(({ params: members, ...own }) => {
      checkOptions(name, own, known)
      const group = { ...settings, ...given(own), params: members }
      this.check(name, group)
      return group
    })
    checkParameters(name, this.paramGroups)
  }

  /** Changes one parameter, in place. */
  protected abstract update(
    parameter: Parameter,
    gradient: Tensor,
    group: ParameterGroup<H>,
    state: ParameterState,
  ): void

  /** Throws a ValueError for hyperparameters that make no sense. */
  protected check(name: string, group: H): void {
    checkNonNegative(name, 'lr', group.lr)
  }

  /** Updates every parameter that has a gradient; the others stay as they are. */
  step(): void {
    for (const group of this.paramGroups)
      for (const parameter of group.params) {
        const gradient = gradOf(parameter)
        if (gradient === undefined) continue
        const state = this.#stateOf(parameter)
        everyRun(() => state.step++)
        this.update(parameter, gradient, group, state)
      }
  }

  /** Forgets the gradients of all parameters. */
  zeroGrad(): void {
    for (const group of this.paramGroups) for (const parameter of group.params) dropGrad(parameter)
  }

  /** The learning rate (of the first group); setting it sets it for all groups. */
  get lr(): number {
    return this.paramGroups[0]!.lr
  }
  set lr(value: number) {
    checkNonNegative(this.constructor.name, 'lr', value)
    for (const group of this.paramGroups) group.lr = value
  }

  #stateOf(parameter: Parameter): ParameterState {
    let state = this.#state.get(parameter)
    if (state === undefined) this.#state.set(parameter, (state = { step: 0, slots: {} }))
    return state
  }

  // -- state

  /** All hyperparameters and what was remembered; later steps do not change it. */
  stateDict(): OptimizerState {
    const state: Record<string, { step: number; slots: Record<string, Tensor> }> = {}
    let next = 0
    const paramGroups = this.paramGroups.map(({ params, ...rest }) => ({
      ...rest,
      params: params.map((parameter) => {
        const known = this.#state.get(parameter)
        if (known !== undefined)
          state[next] = {
            step: known.step,
            slots: Object.fromEntries(
              Object.entries(known.slots).map(([name, slot]) => [name, slot.detach()]),
            ),
          }
        return next++
      }),
    }))
    return { state, paramGroups }
  }

  /**
   * Goes on from a state that `stateDict` of an optimizer of the same kind over parameters of the same
   * shapes gave. Throws a ValueError, changing nothing, when it does not fit.
   */
  loadStateDict(saved: OptimizerState): void {
    const name = this.constructor.name
    const sizes = this.paramGroups.map((g) => g.params.length)
    const savedSizes = saved.paramGroups.map((g) => g.params.length)
    if (sizes.join() !== savedSizes.join())
      throw new ValueError(
        `${name}.loadStateDict: saved groups of [${savedSizes.join(', ')}] parameters, this optimizer has [${sizes.join(', ')}]. Make the optimizer as it was made before saving`,
      )
    const groups = saved.paramGroups.map((group, i) => {
      checkOptions(`${name}.loadStateDict`, group, [
        ...Object.keys(this.paramGroups[i]!),
        'initialLr',
      ])
      return { ...group, params: this.paramGroups[i]!.params }
    })
    const parameters = this.paramGroups.flatMap((g) => g.params)
    const loaded = Object.entries(saved.state).map(([key, { step, slots }]) => {
      const parameter = parameters[Number(key)]
      if (parameter === undefined)
        throw new ValueError(`${name}.loadStateDict: there is no parameter ${key}`)
      checkSlots(`${name}.loadStateDict`, key, parameter, slots)
      return { parameter, step, slots }
    })
    groups.forEach((group, i) => Object.assign(this.paramGroups[i]!, group))
    this.#state.clear()
    for (const { parameter, step, slots } of loaded) {
      const entries = Object.entries(slots).map(([slot, value]): [string, Buffer] => [
        slot,
        owned(Buffer, value.to(parameter.device).clone()),
      ])
      this.#state.set(parameter, { step, slots: Object.fromEntries(entries) })
    }
  }
}

/** A tensor remembered beside a parameter, of its shape and dtype; zeros when first asked for. */
export function slotOf(state: ParameterState, name: string, parameter: Parameter): Buffer {
  const { shape, dtype, device } = parameter
  return (state.slots[name] ??= ownedAtOnce(Buffer, () => zeros(shape, { dtype, device })))
}

/** Throws a ValueError unless the value is a finite number of at least 0. */
export function checkNonNegative(where: string, name: string, value: unknown): void {
  if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return
  throw new ValueError(
    `${where}: ${name} must be a finite number of at least 0, received ${String(value)}`,
  )
}

/** Throws a ValueError unless 0 <= value < 1, as decay rates of averages must be. */
export function checkRate(where: string, name: string, value: unknown): void {
  if (typeof value === 'number' && value >= 0 && value < 1) return
  throw new ValueError(
    `${where}: ${name} must be at least 0 and below 1, received ${String(value)}`,
  )
}

function groupsOf<H>(
  name: string,
  params: ParametersOrGroups<H>,
): ({ readonly params: readonly Parameter[] } & Partial<H>)[] {
  if (
    params instanceof Tensor ||
    typeof (params as Iterable<unknown>)?.[Symbol.iterator] !== 'function'
  )
    throw new ValueError(
      `${name}: expected an array of parameters or of groups { params, lr }, received ${describe(params)}. Pass model.parameters()`,
    )
  const list = [...(params as Iterable<Parameter | { params: Iterable<Parameter> }>)]
  if (list.length === 0)
    throw new ValueError(
      `${name}: the list of parameters is empty. Pass model.parameters(), and check that the model keeps its layers in fields`,
    )
  const isGroup = (x: unknown): x is { params: Iterable<Parameter> } =>
    typeof x === 'object' && x !== null && 'params' in x
  if (!list.some(isGroup)) return [{ params: list as Parameter[] } as never]
  return list.map((group) => {
    if (!isGroup(group))
      throw new ValueError(
        `${name}: parameters and groups are mixed in one list. Pass either parameters, or groups { params, lr }`,
      )
    return { ...group, params: [...group.params] } as never
  })
}

function checkParameters(name: string, groups: readonly { params: readonly unknown[] }[]): void {
  const seen = new Set<unknown>()
  groups.forEach(({ params }, g) => {
    if (params.length === 0) throw new ValueError(`${name}: group ${g} has no parameters`)
    params.forEach((parameter, i) => {
      if (!(parameter instanceof Parameter))
        throw new ValueError(
          `${name}: entry ${i} is ${describe(parameter)}, not a Parameter. Only parameters can be updated: new nn.Parameter(t)`,
        )
      if (seen.has(parameter))
        throw new ValueError(
          `${name}: the parameter of shape ${formatShape(parameter.shape)} is listed twice. List each parameter once, in one group`,
        )
      seen.add(parameter)
    })
  })
}

function checkSlots(
  where: string,
  key: string,
  parameter: Parameter,
  slots: Readonly<Record<string, Tensor>>,
): void {
  for (const [slot, value] of Object.entries(slots))
    if (!sameShape(value.shape, parameter.shape) || value.dtype !== parameter.dtype)
      throw new ValueError(
        `${where}: ${slot} of parameter ${key} is ${value.dtype} ${formatShape(value.shape)}, the parameter ${parameter.dtype} ${formatShape(parameter.shape)}. Load the state of the same model`,
      )
}

/** Without entries that are undefined: those ask for the default. */
function given<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, v]) => v !== undefined)) as T
}

function describe(value: unknown): string {
  if (value instanceof Parameter) return 'a Parameter'
  if (value instanceof Tensor) return 'a tensor'
  return value === null ? 'null' : `a value of type ${typeof value}`
}
