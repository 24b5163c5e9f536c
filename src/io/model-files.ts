/** @file A model as two files: its values, and what it is made of. */
import { Module } from '../nn/module.ts'
import type { LoadReport } from '../nn/load.ts'
import { checkOptions, ValueError } from '../util/errors.ts'
import { checkPath, files } from './files.ts'
import { describeModel, modelDifferences, parseDescription } from './model-description.ts'
import { fromSafetensors, toSafetensors, type SafetensorsOptions } from './safetensors.ts'

/**
 * Writes the values of a module to `path`, and beside it a .json file that says what it is made of:
 * classes, options, names, shapes. Neither holds code.
 *
 * @example no-run
 * await saveModel(model, 'model.safetensors') // and model.json
 */
export async function saveModel(
  module: Module,
  path: string,
  options: SafetensorsOptions = {},
): Promise<void> {
  checkPath('saveModel', path)
  checkOptions('saveModel', options, ['metadata'])
  const { writeAtomically } = await files('saveModel', 'toSafetensors and describeModel')
  const description = new TextEncoder().encode(
    `${JSON.stringify(describeModel(module), null, 2)}\n`,
  )
  const values = await toSafetensors(module, options)
  await writeAtomically(descriptionPath(path), description)
  await writeAtomically(path, values)
}

/**
 * Loads what `saveModel` wrote into a module of the same making. Both files are checked, and compared
 * with the module, before anything changes. Throws a ValueError that lists what differs, a FormatError
 * for damaged files.
 *
 * @example no-run
 * const model = new Net()
 * await loadModel(model, 'model.safetensors')
 */
export async function loadModel(module: Module, path: string): Promise<LoadReport> {
  checkPath('loadModel', path)
  if (!(module instanceof Module))
    throw new ValueError(`loadModel: expected a module first, received ${typeof module}`)
  const { readBytes } = await files('loadModel', 'fromSafetensors and parseDescription')
  const text = new TextDecoder().decode(await readBytes('loadModel', descriptionPath(path)))
  const differences = modelDifferences(parseDescription(text, descriptionPath(path)), module)
  if (differences.length > 0)
    throw new ValueError(
      `loadModel: ${path} was saved from another model; nothing was loaded.\n  ${differences.join('\n  ')}\nBuild the module as it was when it was saved; load() compares names and shapes only`,
    )
  const { tensors } = fromSafetensors(await readBytes('loadModel', path), { source: path })
  return module.loadStateDict(tensors)
}

/** model.safetensors -> model.json */
function descriptionPath(path: string): string {
  return `${path.replace(/\.safetensors$/, '')}.json`
}
