/** @file What a model is made of, as data: to check that a file and a module belong together. */
import { checkDType, type DType } from '../core/dtype.ts'
import { formatShape, sameShape, type Shape } from '../core/shape.ts'
import type { Module } from '../nn/module.ts'
import { FormatError } from '../util/errors.ts'
import { version } from '../util/version.ts'

/** A module and what it holds. */
export interface ModuleDescription {
  /** Name of its class. */
  readonly class: string
  /** Its options, as it prints them: 'inFeatures=784, outFeatures=128'. */
  readonly options: string
  readonly children: Readonly<Record<string, ModuleDescription>>
}

/** The content of model.json. */
export interface ModelDescription {
  readonly format: 'tandem-model'
  readonly formatVersion: 1
  /** Version of the library that wrote it. */
  readonly tandem: string
  readonly architecture: ModuleDescription
  readonly tensors: Readonly<Record<string, { readonly dtype: DType; readonly shape: Shape }>>
}

/**
 * Describes a module: classes, options, names, shapes and dtypes; no values and no code.
 *
 * @example
 * const { architecture, tensors } = describeModel(new nn.Sequential(new nn.Linear(2, 1)))
 * architecture.children['0'].class // -> 'Linear'
 * tensors['0.weight'].shape // -> [1, 2]
 */
export function describeModel(module: Module): ModelDescription {
  const tensors = Object.entries(module.stateDict()).map(
    ([name, { dtype, shape }]) => [name, { dtype, shape: [...shape] }] as const,
  )
  return {
    format: 'tandem-model',
    formatVersion: 1,
    tandem: version,
    architecture: describeModule(module),
    tensors: Object.fromEntries(tensors),
  }
}

/**
 * What differs between a description and a module, a line each; none when they fit.
 *
 * @example
 * const saved = describeModel(new nn.Linear(2, 1))
 * modelDifferences(saved, new nn.Linear(3, 1))
 * // -> ["the model: saved as Linear(inFeatures=2, outFeatures=1, bias=true), here Linear(inFeatures=3, outFeatures=1, bias=true)", "'weight': saved as float32 [1, 2], here float32 [1, 3]"]
 */
export function modelDifferences(saved: ModelDescription, module: Module): string[] {
  const here = describeModel(module)
  const text = (t: { dtype: DType; shape: Shape } | undefined) =>
    t === undefined ? 'missing' : `${t.dtype} ${formatShape(t.shape)}`
  const names = new Set([...Object.keys(saved.tensors), ...Object.keys(here.tensors)])
  const differing = [...names].filter((name) => {
    const [a, b] = [own(saved.tensors, name), own(here.tensors, name)]
    return a?.dtype !== b?.dtype || !sameShape(a?.shape ?? [], b?.shape ?? [])
  })
  return [
    ...moduleDifferences('', saved.architecture, here.architecture),
    ...differing.map(
      (name) =>
        `'${name}': saved as ${text(own(saved.tensors, name))}, here ${text(own(here.tensors, name))}`,
    ),
  ]
}

/**
 * Reads the text of a model.json. Throws a FormatError unless all of it is as `describeModel` makes it.
 *
 * @example
 * parseDescription(JSON.stringify(describeModel(new nn.ReLU()))).architecture.class // -> 'ReLU'
 * parseDescription('{}', 'model.json')
 * // FormatError: model.json: not the description of a Tandem model
 */
export function parseDescription(text: string, source = 'model.json'): ModelDescription {
  const fail = (what: string): never => {
    throw new FormatError(`${source}: ${what}. Save the model again with saveModel`)
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    return fail(`not valid JSON (${(error as Error).message})`)
  }
  if (!isObject(value) || own(value, 'format') !== 'tandem-model')
    return fail('not the description of a Tandem model')
  if (value['formatVersion'] !== 1)
    return fail(`written in version ${String(value['formatVersion'])} of the format, this is 1`)
  if (!isModule(own(value, 'architecture'))) return fail('the architecture is damaged')
  const tensors = own(value, 'tensors')
  if (!isObject(tensors)) return fail('the list of tensors is damaged')
  for (const [name, info] of Object.entries(tensors)) {
    if (!isObject(info) || !isShape(own(info, 'shape'))) return fail(`tensor '${name}' is damaged`)
    checkDType(`${source}: tensor '${name}'`, own(info, 'dtype'))
  }
  return value as unknown as ModelDescription
}

function describeModule(module: Module): ModuleDescription {
  return {
    class: module.constructor.name,
    options: module.extraRepr(),
    children: Object.fromEntries(
      module.namedChildren().map(([name, child]) => [name, describeModule(child)]),
    ),
  }
}

function moduleDifferences(
  path: string,
  saved: ModuleDescription,
  here: ModuleDescription,
): string[] {
  const text = (m: ModuleDescription | undefined) =>
    m === undefined ? 'missing' : `${m.class}(${m.options})`
  const place = path === '' ? 'the model' : `'${path}'`
  const line = (at: string, a?: ModuleDescription, b?: ModuleDescription) =>
    `${at}: saved as ${text(a)}, here ${text(b)}`
  const isSame = saved.class === here.class && saved.options === here.options
  const names = new Set([...Object.keys(saved.children), ...Object.keys(here.children)])
  return [
    ...(isSame ? [] : [line(place, saved, here)]),
    ...[...names].flatMap((name) => {
      const [a, b] = [own(saved.children, name), own(here.children, name)]
      const inner = path === '' ? name : `${path}.${name}`
      return a === undefined || b === undefined
        ? [line(`'${inner}'`, a, b)]
        : moduleDifferences(inner, a, b)
    }),
  ]
}

function isModule(value: unknown, depth = 0): boolean {
  if (!isObject(value) || depth > 200) return false
  const children = own(value, 'children')
  return (
    typeof own(value, 'class') === 'string' &&
    typeof own(value, 'options') === 'string' &&
    isObject(children) &&
    Object.values(children).every((child) => isModule(child, depth + 1))
  )
}

function isShape(value: unknown): boolean {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0)
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A property that the object itself has, whatever its name. */
function own<T>(object: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(object, key) ? object[key] : undefined
}
