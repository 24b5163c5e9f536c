/** @file Steps of training, evaluation and prediction as programs. */
import { compile } from '../compile/compile.ts'
import { DynamicAxesError } from '../compile/dynamic-axes.ts'
import { debug } from '../util/config.ts'
import { TraceError } from '../util/errors.ts'

/** A step as one program for all sizes of a batch, unless it is to run operation by operation. */
export function compiledStep<A extends unknown[], R>(
  name: string,
  runEagerly: boolean,
  step: (...args: A) => R,
): (...args: A) => R {
  if (runEagerly) return step
  const forAnySize = compile(step, { name, dynamicAxes: [0] })
  const forEachSize = compile(step, { name })
  let program = forAnySize
  const run = (...args: A): R => {
    if (program === forEachSize) return forEachSize(...args)
    try {
      return forAnySize(...args)
    } catch (error) {
      if (!(error instanceof DynamicAxesError)) throw error
      const { message } = error
      debug(1, () => `compile: ${name} is traced for each size of a batch. ${message}`)
      program = forEachSize
      return forEachSize(...args)
    }
  }
  return (...args) => {
    try {
      return run(...args)
    } catch (error) {
      if (error instanceof TraceError)
        error.message += `. Or run ${name} operation by operation: model.compile({ ..., runEagerly: true })`
      throw error
    }
  }
}
