/** @file Checkpoints: all that a training run needs to go on, in one safetensors file. */
import { Module } from '../nn/module.ts'
import { Optimizer, type OptimizerState } from '../optim/index.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { defaultGenerator, type GeneratorState } from '../tensor/random.ts'
import { checkOptions, FormatError, ValueError } from '../util/errors.ts'
import { checkPath, files } from './files.ts'
import { fromSafetensors, toSafetensors } from './safetensors.ts'

/** What goes on after a break: the network, its optimizer, and the number of epochs done. */
export interface Training {
  readonly module: Module
  readonly optimizer?: Optimizer
  /** Epochs done; 0 for none. */
  readonly epoch?: number
}

/** The header entry with all that is not a tensor. */
const key = 'tandem.checkpoint'

interface Header {
  readonly epoch: number
  readonly generator: GeneratorState
  readonly steps: Record<string, number>
  readonly paramGroups: OptimizerState['paramGroups'] | undefined
}

/**
 * Writes the values of a module, the state of its optimizer, the number of epochs done and the place
 * of the random stream to one file, in one step. `loadCheckpoint` goes on from there, to the bit.
 *
 * @example no-run
 * await saveCheckpoint('run.safetensors', { module: model, optimizer, epoch: 3 })
 */
export async function saveCheckpoint(path: string, training: Training): Promise<void> {
  checkPath('saveCheckpoint', path)
  checkTraining('saveCheckpoint', training)
  const { module, optimizer, epoch = 0 } = training
  const saved = optimizer?.stateDict()
  const tensors: Record<string, Tensor> = {}
  for (const [name, value] of Object.entries(module.stateDict())) tensors[`module.${name}`] = value
  const steps: Record<string, number> = {}
  for (const [index, { step, slots }] of Object.entries(saved?.state ?? {})) {
    steps[index] = step
    for (const [slot, value] of Object.entries(slots)) tensors[`optimizer.${index}.${slot}`] = value
  }
  const header: Header = {
    epoch,
    generator: defaultGenerator.getState(),
    steps,
    paramGroups: saved?.paramGroups,
  }
  const { writeAtomically } = await files('saveCheckpoint', 'toSafetensors')
  const bytes = await toSafetensors(tensors, { metadata: { [key]: JSON.stringify(header) } })
  await writeAtomically(path, bytes)
}

/**
 * Loads what `saveCheckpoint` wrote into a module and, if given, its optimizer, and puts the random
 * stream where it was. Gives the number of epochs done. The whole file is read and checked first.
 * Throws a FormatError for another kind of file, a ValueError when something does not fit.
 *
 * @example no-run
 * const { epoch } = await loadCheckpoint('run.safetensors', { module: model, optimizer })
 */
export async function loadCheckpoint(path: string, training: Training): Promise<{ epoch: number }> {
  checkPath('loadCheckpoint', path)
  checkTraining('loadCheckpoint', training)
  const { readBytes } = await files('loadCheckpoint', 'fromSafetensors')
  const { tensors, metadata } = fromSafetensors(await readBytes('loadCheckpoint', path), {
    source: path,
  })
  const header = readHeader(path, metadata[key])
  const { module, optimizer } = training
  if (optimizer !== undefined && header.paramGroups === undefined)
    throw new ValueError(
      `loadCheckpoint: ${path} has no optimizer's state. Load without optimizer, or save with it`,
    )
  const before = module.stateDict()
  module.loadStateDict(withPrefix(tensors, 'module.'))
  try {
    if (optimizer !== undefined) optimizer.loadStateDict(optimizerState(header, tensors))
  } catch (error) {
    module.loadStateDict(before)
    throw error
  }
  defaultGenerator.setState(header.generator)
  return { epoch: header.epoch }
}

function optimizerState(header: Header, tensors: Readonly<Record<string, Tensor>>): OptimizerState {
  const state = Object.fromEntries(
    Object.entries(header.steps).map(([index, step]) => [
      index,
      { step, slots: withPrefix(tensors, `optimizer.${index}.`) },
    ]),
  )
  return { state, paramGroups: header.paramGroups! }
}

function withPrefix(
  tensors: Readonly<Record<string, Tensor>>,
  prefix: string,
): Record<string, Tensor> {
  return Object.fromEntries(
    Object.entries(tensors).flatMap(([name, value]) =>
      name.startsWith(prefix) ? [[name.slice(prefix.length), value]] : [],
    ),
  )
}

function readHeader(path: string, text: string | undefined): Header {
  const fail = (what: string): never => {
    throw new FormatError(`loadCheckpoint: ${path}: ${what}. Expected what saveCheckpoint wrote`)
  }
  if (text === undefined)
    return fail('there is no checkpoint in this file; load() takes values alone')
  try {
    const header = JSON.parse(text) as Header
    const { epoch, generator, steps } = header
    const isWhole = (n: unknown) => Number.isSafeInteger(n) && (n as number) >= 0
    const isSound =
      isWhole(epoch) &&
      Number.isSafeInteger(generator.seed) &&
      isWhole(generator.counter) &&
      Object.values(steps).every(isWhole)
    return isSound ? header : fail('the header is damaged')
  } catch (error) {
    if (error instanceof FormatError) throw error
    return fail(`the header is damaged (${(error as Error).message})`)
  }
}

function checkTraining(where: string, training: Training): void {
  checkOptions(where, training, ['module', 'optimizer', 'epoch'])
  if (!(training?.module instanceof Module))
    throw new ValueError(`${where}: expected { module, optimizer, epoch }; the module is missing`)
  if (training.optimizer !== undefined && !(training.optimizer instanceof Optimizer))
    throw new ValueError(`${where}: the optimizer is none. Pass the one that trains the module`)
}
